"""Members as the generator draws them: Zipf-Mandelbrot, s = 1, q = 2.7."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate


def zipf(count: int) -> Callable[[random.Random, int], list[int]]:
    """Draws positions 0..count-1, the low ones most often."""
    weights = list(accumulate(1 / (rank + 3.7) for rank in range(count)))
    positions = range(count)
    return lambda rng, n: rng.choices(positions, cum_weights=weights, k=n)
