"""Rates between currencies are published: numbered, kept for ever, and told to who converts by them."""

from collections.abc import Sequence

import msgspec

from services.members.domain.rates import PublishRate, Rate
from shared.db import Connection
from shared.events import RatePublished
from shared.messaging import Done, Item, Outcome, Tx
from shared.sql import load

queries = load("services.members", "rates.sql")

_encode = msgspec.json.Encoder().encode


async def publish_rates(tx: Tx, items: Sequence[Item[PublishRate]]) -> list[Outcome]:
    """Keeps and tells each rate as the next of its pair."""
    pairs = sorted({(item.command.from_currency, item.command.to_currency) for item in items})
    columns = {"from_currencies": [one for one, _ in pairs], "to_currencies": [other for _, other in pairs]}
    await queries.lock_pairs(tx.db, **columns)
    latest = {(row[0], row[1]): row[2] for row in await queries.latest_of(tx.db, **columns)}
    now = tx.now()
    made: list[Rate] = []
    for item in items:
        asked = item.command
        pair = asked.from_currency, asked.to_currency
        latest[pair] += 1
        rate = Rate(*pair, latest[pair], asked.rate, asked.valid_from, asked.source, item.actor, now)
        tx.emit(
            RatePublished(
                from_currency=rate.from_currency,
                to_currency=rate.to_currency,
                number=rate.number,
                rate=rate.rate,
                valid_from=rate.valid_from,
                source=rate.source,
                author=rate.author,
                published_at=rate.published_at,
            ),
            subject=f"rate/{rate.from_currency}-{rate.to_currency}",
            sequence=rate.number,
            item=item,
        )
        tx.audit("rate.publish", f"rate/{rate.from_currency}-{rate.to_currency}", item=item, after=rate)
        made.append(rate)
    await queries.publish_rates(
        tx.db,
        from_currencies=[one.from_currency for one in made],
        to_currencies=[one.to_currency for one in made],
        numbers=[one.number for one in made],
        rates=[one.rate for one in made],
        valid_froms=[one.valid_from for one in made],
        sources=[one.source for one in made],
        authors=[one.author for one in made],
        published_at=now,
    )
    return [Done(201, _encode(one)) for one in made]


async def rates_of(
    db: Connection, from_currency: str, to_currency: str, *, before: int | None, most: int
) -> list[Rate]:
    """Rates of a pair, the latest published first, from before that number on."""
    rows = await queries.rates_of(
        db, from_currency=from_currency, to_currency=to_currency, before=before, most=most
    )
    return [Rate(*row) for row in rows]
