"""One of each thing that a tenant can have, and a second one where there is a list of them: what another could be after."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from shared.db import Connection, connect
from shared.ids import uuid7
from shared.messaging.keys import SERVICES
from shared.tenants.provision import dsn_for
from tests.support.caller import DOCUMENT, Caller
from tests.support.gift_cards import GIFTS, sar
from tests.support.programmes import SHOPS
from tests.support.town import Town

PROGRAMME = {
    **SHOPS,
    "earning": {**SHOPS["earning"], "acts": [{"code": "survey", "points": 20}]},
    "redemption": {**SHOPS["redemption"], "offline": {"points": 5, "hours": 24, "report_days": 2}},
    "gift_cards": GIFTS,
}
MALL = "riyadh-mall"
ABOUT = {"wallet_id", "programme", "reward", "from_currency", "to_currency"}
"""Which list it is, where a list is asked for."""

# What no call makes in a few seconds.
BY_HAND = """
    INSERT INTO earn.reviews (review_id, bill_id, merchant, bill_ref, occurred_at, total_minor, member_id, wallet_id, programme,
        accrual_id, points, currency, point_value, patterns, flagged_at)
    SELECT '{review_id}', b.bill_id, b.merchant, b.bill_ref, now(), 60000, '{member_id}', a.wallet_id, 'shops', a.accrual_id,
        a.points, 'SAR', '0.10', '{{own_card}}', now()
    FROM earn.accruals AS a
    JOIN earn.bill_keys AS b ON b.bill_id = a.bill_id
    ORDER BY a.accrual_id
    LIMIT 1 OFFSET {number};
    INSERT INTO redeem.reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
    VALUES ('{difference_id}', 'lines', '{wallet_id} {number}', '1', '2', now(), now());
    INSERT INTO earn.settlement_variances
        (variance_id, merchant, day, kind, currency, zone, expected_minor, found_minor, first_seen, last_seen)
    VALUES ('{variance_id}', 'riyadh-mall', date '2026-01-01' + {number}, 'total', 'SAR', 'Asia/Riyadh', 1, 2, now(), now());
    INSERT INTO redeem.stock_counts (programme, reward, day, location, on_hand, recorded_at)
    VALUES ('shops', 'mug', date '2026-01-01' + {number}, 'depot', 5, now());
"""


@dataclass
class Holdings:
    """`ids` by the names of the parameters that they are given for; those of one path alone under `path name`."""

    town: Town
    call: Caller
    ids: dict[str, str] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    pin: str = ""
    """Of the gift card."""

    def of(self, path: str, name: str) -> str | None:
        """What is given for this parameter of this path; None: nobody thought of it."""
        if name == "cursor":
            return self.cursors.get(path)
        return self.ids.get(f"{path.split('/')[2]} {name}", self.ids.get(name))

    def fill(self, path: str) -> str:
        """The path with its things in it."""
        return re.sub(r"\{(\w+)\}", lambda found: str(self.of(path, found[1])), path)

    async def tables(self) -> dict[str, str]:
        """What each table of the tenant says, by its name."""
        db = await self._administrator()
        try:
            tables = await db.fetch(
                """
                SELECT n.nspname || '.' || c.relname AS name
                FROM pg_class AS c
                JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                """,
                list(SERVICES),
            )
            said = (
                f"SELECT '{one['name']}' AS name,"
                f" md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) AS said FROM {one['name']} AS t"
                for one in tables
            )
            return {row["name"]: row["said"] for row in await db.fetch(" UNION ALL ".join(said))}
        finally:
            await db.close()

    async def _administrator(self) -> Connection:
        return await connect(dsn_for(self.town.settings, f"pb_{self.town.tenant}"))

    def made(self, method: str, path: str, body: Any) -> Any:
        """What a call that has to be done answers."""
        answer = self.call(method, path, json=body)
        assert answer.status_code in {200, 201, 202}, (path, answer.text)
        return answer.json()

    async def by_hand(self) -> None:
        names = ("review_id", "difference_id", "variance_id")
        for number in range(2):
            self.ids |= {name: str(uuid7()) for name in names}
            await self.written(BY_HAND.format(**self.ids, number=number))

    async def written(self, statements: str) -> None:
        """Writes what no call makes in a few seconds."""
        db = await self._administrator()
        try:
            await db.execute(statements)
        finally:
            await db.close()


def said(answer: httpx.Response) -> tuple[int, Any]:
    """An answer, whichever request it was to."""
    return answer.status_code, {**answer.json(), "request_id": ""}


def found_holdings(town: Town, call: Caller) -> Holdings:
    """Everything, made by its own calls, and by hand what no call makes at once."""
    made = Holdings(town, call)
    card, member = town.cards[0], {"card_number": town.cards[0].card_number}
    made.ids |= {
        "wallet_id": card.wallet_id,
        "programme": "shops",
        "merchant": MALL,
        "seq": "1",
        "segment": "vip",
    }
    _earned(made, member)
    asyncio.run(town.settled())
    _moved(made, member)
    asyncio.run(town.settled())
    made.made("POST", "/v1/ledger/seals", {})
    _spent(made, member)
    asyncio.run(town.settled())
    made.made("POST", "/v1/ledger/seals", {})
    lots = call("GET", f"/v1/wallets/{card.wallet_id}/lots").json()["items"]
    made.ids["lot_id"] = lots[0]["lot_id"]
    asyncio.run(made.by_hand())
    asyncio.run(town.settled())
    _cursors(made)
    return made


def now() -> str:
    """A minute ago, as bodies write it."""
    return (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="seconds")


def _earned(made: Holdings, member: dict[str, str]) -> None:
    """Bills, each of them a tier, and what points are for."""
    for number in range(3):
        bill = {
            "merchant": MALL,
            "terminal": "T03",
            "bill_ref": f"{made.town.tenant}-{number}",
            "channel": "store",
            "occurred_at": now(),
            "member": member,
            "currency": "SAR",
            "total_minor": 60_000,
            "lines": [{"line_id": "1", "amount_minor": 60_000}],
        }
        answer = made.made("POST", "/v1/bills", bill)
        made.ids |= {"bill_id": answer["bill_id"], "bill_ref": answer["bill_ref"]}
    found = made.made("POST", "/v1/members/lookup", member)
    card_id = found["wallets"][0]["card"]["card_id"]
    made.ids |= {"member_id": found["member_id"], "cards card_id": card_id, **member}
    made.ids["mobile"] = made.town.cards[0].person.mobile
    own = {
        name: f"{made.town.tenant}{rest}" for name, rest in (("email", "@example.com"), ("external_id", "-1"))
    }
    consent = {"accepted": True, "terms_version": "2026-01", "accepted_at": now()}
    made.made("POST", "/v1/members", {**own, "channel": "store", "programmes": ["shops"], "consent": consent})
    made.ids |= own
    for reward in ("mug", "bag"):
        body = {"programme": "shops", "kind": "product", "name": {"en": reward}, "price": {"points": 1}}
        made.made("PUT", f"/v1/rewards/{reward}", {**body, "stock": 9})
    made.ids["reward"] = "mug"
    for day in ("2026-01-01", "2026-02-01"):
        rate = {"from_currency": "USD", "to_currency": "SAR", "rate": "3.75", "source": "sama"}
        made.made("POST", "/v1/currency-rates", {**rate, "valid_from": f"{day}T00:00:00Z"})
    made.ids |= {"from_currency": "USD", "to_currency": "SAR"}


def _moved(made: Holdings, member: dict[str, str]) -> None:
    """Refunds, acts, adjustments and what is disputed, two of each."""
    named = {"merchant": MALL, "bill_ref": made.ids["bill_ref"]}
    for _ in range(2):
        ref = secrets.token_hex(6)
        refund = {
            "bill": named,
            "refund_ref": ref,
            "merchant": MALL,
            "occurred_at": now(),
            "currency": "SAR",
        }
        made.ids["refund_id"] = made.made("POST", "/v1/refunds", {**refund, "amount_minor": 100})["refund_id"]
        waits = {**refund, "refund_ref": f"W-{ref}", "bill": {**named, "bill_ref": f"later-{ref}"}}
        made.made("POST", "/v1/refunds", {**waits, "amount_minor": 100})
        act = {"act": "survey", "act_ref": ref, "occurred_at": now(), "member": member}
        made.ids["act_id"] = made.made("POST", "/v1/acts", act)["act_id"]
        one, other = ({"wallet_id": card.wallet_id, "points": 1} for card in made.town.cards[:2])
        asked = {"programme": "shops", "reason": "goodwill", "evidence": {"reference": "C-1"}}
        pending = made.made("POST", "/v1/adjustments", {**asked, "items": [one, other]})
        made.ids["adjustment_id"] = pending["adjustment_id"]
        posted = made.made("POST", "/v1/adjustments", {**asked, "items": [one]})["items"][0]["posting_id"]
        dispute = {"posting_id": posted, "points": 1, "reason": "missing"}
        made.ids["posting_id"] = posted
        made.ids["dispute_id"] = made.made("POST", "/v1/disputes", dispute)["dispute_id"]


def _spent(made: Holdings, member: dict[str, str]) -> None:
    """Rewards and points, one of them not captured yet; gift cards, one of them used."""
    asked = {"programme": "shops", "member": member, "merchant": MALL}
    for reward in ("mug", "bag"):
        bought = made.made("POST", "/v1/redemptions", {**asked, "reward": reward})
        made.ids["benefit_id"] = bought["benefit"]["benefit_id"]
        made.ids["benefit_code"] = bought["benefit"]["code"]
    later = made.made("POST", "/v1/redemptions", {**asked, "points": 5, "capture": "later"})
    made.ids |= {"redemption_id": later["redemption_id"], "redemption_code": later["code"]}
    offline = made.made("POST", "/v1/redemption-allowances", {**asked, "terminal": "T03"})
    made.ids["allowance"] = offline["allowance"]
    issue = {"programme": "shops", "amount": sar(1_000), "count": 1}
    [card] = made.made("POST", "/v1/gift-cards", issue)["gift_cards"]
    placed = {"serial": card["serial"], "merchant": MALL}
    made.made("POST", "/v1/gift-cards/activate", placed)
    used = made.made("POST", "/v1/gift-cards/use", {**placed, "pin": card["pin"], "amount": sar(400)})
    made.ids |= {"gift-cards card_id": card["card_id"], "use_id": used["use_id"], "serial": card["serial"]}
    made.pin = card["pin"]


def _cursors(made: Holdings) -> None:
    """Where the first page of each list ends: a page of one has a second one."""
    short = {}
    for path, operations in DOCUMENT["paths"].items():
        names = [one["name"] for one in operations.get("get", {}).get("parameters", [])]
        if "cursor" not in names:
            continue
        about = {name: made.ids[name] for name in names if name in ABOUT and f"{{{name}}}" not in path}
        answer = made.call("GET", made.fill(path), params={"limit": 1, **about})
        cursor = answer.json().get("next_cursor")
        if cursor is None:
            short[path] = answer.text
        made.cursors[path] = str(cursor)
    assert short == {}, "these lists have less than two"
