"""Who goes first where tenants share a process."""

import asyncio

import pytest

from shared.fairness import FAR_LESS, FEW, HERE_S, LOUD, MOST_S, STALE_S, Fairness, Share


class Watch:
    """A clock that stands still until it is put on."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def fairness(watch: Watch) -> Fairness:
    return Fairness(watch)


def loud_of(fairness: Fairness, items: int = 5000) -> Share:
    share = fairness.share("loud")
    share.take(items)
    return share


async def gave_way(fairness: Fairness, share: Share) -> bool:
    """Whether it still waits after the loop has turned a few times."""
    waiting = asyncio.create_task(fairness.give_way(share))
    for _ in range(5):
        await asyncio.sleep(0)
    waits = not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    return waits


async def test_a_tenant_alone_takes_steps_as_large_as_it_likes_and_waits_for_nobody(
    fairness: Fairness,
) -> None:
    loud = loud_of(fairness)
    with fairness.working(loud):
        assert fairness.step(loud, 500) == 500
        assert not await gave_way(fairness, loud)


async def test_who_has_had_far_more_waits_until_the_others_work_is_done(fairness: Fairness) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(loud):
        fairness.begin(quiet)
        fairness.begin(quiet)
        waiting = asyncio.create_task(fairness.give_way(loud))
        await asyncio.sleep(0)
        fairness.end(quiet)
        await asyncio.sleep(0)
        assert not waiting.done(), "it has another piece in hand"
        fairness.end(quiet)
        await waiting
        assert not await gave_way(fairness, loud)


async def test_who_has_had_little_waits_for_nobody(fairness: Fairness) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(loud), fairness.working(quiet):
        assert not await gave_way(fairness, quiet)


@pytest.mark.parametrize(
    ("had", "waits"),
    [(LOUD * FAR_LESS * 2, True), (LOUD * 2, False)],
    ids=["far more", "no more than a few times as much"],
)
async def test_two_who_have_had_about_as_much_do_not_wait_for_each_other(
    fairness: Fairness, had: float, waits: bool
) -> None:
    loud, other = loud_of(fairness, int(had)), fairness.share("other")
    other.take(int(LOUD))
    with fairness.working(loud), fairness.working(other):
        assert await gave_way(fairness, loud) is waits
        assert fairness.step(loud, 500) == (FEW if waits else 500)


async def test_who_has_had_much_long_ago_has_had_little(fairness: Fairness, watch: Watch) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    watch.at += 5.0
    with fairness.working(loud), fairness.working(quiet):
        assert loud.had() == pytest.approx(5000 * 2.718281828**-5)
        assert not await gave_way(fairness, loud)


async def test_nobody_waits_for_what_is_stuck(fairness: Fairness, watch: Watch) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(loud), fairness.working(quiet):
        watch.at += STALE_S + 0.01
        assert not await gave_way(fairness, loud)


async def test_steps_are_small_while_another_is_here_and_large_again_when_it_is_gone(
    fairness: Fairness, watch: Watch
) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(quiet):
        pass
    assert fairness.step(loud, 500) == FEW
    assert fairness.step(loud, 3) == 3
    watch.at += HERE_S + 0.01
    assert fairness.step(loud, 500) == 500


async def test_batches_of_who_is_in_the_way_are_written_one_after_the_other(fairness: Fairness) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    writing: list[int] = []
    most: list[int] = []

    async def write(number: int) -> None:
        async with fairness.batch(loud):
            writing.append(number)
            most.append(len(writing))
            await asyncio.sleep(0)
            writing.remove(number)

    await asyncio.gather(*[write(number) for number in range(5)])
    assert max(most) == 5, "nobody is here"
    most.clear()
    with fairness.working(quiet):
        pass
    await asyncio.gather(*[write(number) for number in range(5)])
    assert most == [1] * 5


async def test_a_batch_that_is_stuck_holds_up_the_others_for_a_moment_only(fairness: Fairness) -> None:
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(quiet):
        pass
    async with fairness.batch(loud), asyncio.timeout(10), fairness.batch(loud):
        assert loud.one.locked()
    assert not loud.one.locked()


async def test_a_step_gives_way_for_a_moment_only_and_that_is_told_once() -> None:
    fairness = Fairness()
    loud, quiet = loud_of(fairness), fairness.share("quiet")
    with fairness.working(loud), fairness.working(quiet):
        await fairness.give_way()  # the task works in the quiet one's share
        assert loud.told() == 0
        await fairness.give_way(loud)
        assert loud.told() >= MOST_S * 0.9
        assert loud.told() == 0


async def test_a_tenant_that_is_not_served_any_more_is_forgotten(fairness: Fairness) -> None:
    loud_of(fairness)
    fairness.forget("loud")
    assert fairness.share("loud").had() == 0
