"""What comes in is repeated, shuffled and poisoned."""

from __future__ import annotations

from tests.soak.nemesis.field import Fault, Field
from tests.support.desk import SOURCE


async def repeated_and_shuffled(field: Field) -> str:
    """A till that has lost its memory offers again what it offered, in any order."""
    bills = field.town.bills(60)
    offers = [field.town.offer(bill) for bill in [*bills, *field.dice.sample(bills, 20)]]
    field.dice.shuffle(offers)
    for start in range(0, len(offers), 20):
        await field.traffic.offer(offers[start : start + 20])
    field.met["offers repeated"] += len(offers) - len(bills)
    return f"{len(offers)} offers of {len(bills)} bills"


async def poison(field: Field) -> str:
    kinds = [b"not an event", b"\xff\xfe", b'{"specversion": "1.0"}', b"[" * 5_000]
    many = field.dice.randint(1, 6)
    for _ in range(many):
        await field.traffic.place(field.dice.choice(kinds), source=SOURCE)
        field.met["poisoned entries"] += 1
        await field.traffic.offer([field.town.offer(bill) for bill in field.town.bills(5)])
    return f"{many} entries"


FAULTS: dict[str, Fault] = {
    "input repeated and shuffled": repeated_and_shuffled,
    "poison": poison,
}
