"""What an act waits for, whether it is taken, and what it is worth: pure, from the act and the facts known of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

import msgspec

from services.earn.domain.acts.act import RecordAct
from services.earn.domain.decision import Accrual, Awaited
from services.earn.domain.judge import (
    ANY_PROGRAMME,
    EARLIEST,
    FUTURE,
    BudgetKey,
    CapKey,
    Facts,
    Member,
    OccurredInFuture,
    OccurredTooEarly,
    Standing,
    Wallet,
    standing_at,
)
from services.earn.domain.versions import active_at
from shared.errors import FieldError, ProgrammeClosed, Refusal
from shared.events import BillAccrual
from shared.money import worth
from shared.programme.acts import ActSubject, ActWorth, CompiledAct
from shared.programme.campaigns import Room
from shared.programme.compiled import CompiledProgramme
from shared.programme.days import day_of


class ActUnknown(Refusal):
    code = "act_unknown"


class ActDataInvalid(Refusal):
    code = "act_data_invalid"


class ForReferral(msgspec.Struct, frozen=True, gc=False):
    """What a referral was given for: which of the two the wallet's member is, and the bill of `referred` that reached the
    minimum."""

    role: str
    referred: UUID
    bill_id: UUID
    amount_minor: int
    minimum_minor: int


class ActJudged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the act is worth in one wallet, with the inputs used. `act` is the type's code. `result`: `applied`, `when` (its
    condition does not hold), `nothing` (no whole point) or `used_up` (its budget, or the member's caps). `wanted` is what it
    would give but for caps and budget; `caps` are the type's, `member_caps` the programme's."""

    programme: str
    version: int
    wallet_id: UUID
    currency: str
    point_value: str
    act: str
    result: str
    tier: str | None = None
    tier_event_id: UUID | None = None
    tier_sequence: int | None = None
    condition: str = ""
    units: int | None = None
    wanted: int = 0
    caps: tuple[Room, ...] = ()
    member_caps: tuple[Room, ...] = ()
    budget: tuple[int, int] | None = None
    points: int = 0
    accruals: tuple[Accrual, ...] = ()
    referral: ForReferral | None = None

    def told(self) -> BillAccrual:
        """The same as the answer says it."""
        return BillAccrual(
            programme=self.programme,
            programme_version=self.version,
            wallet_id=self.wallet_id,
            tier=self.tier,
            available=worth(self.points, self.point_value, self.currency),
            held=worth(0, self.point_value, self.currency),
        )


class ActDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A judgement. `passed_over`: programmes in which the act earns nothing, and why (act_unknown, occurred_too_early,
    act_data_invalid). `waiting_for`: what was not known yet."""

    status: str
    member_id: UUID | None = None
    programmes: tuple[ActJudged, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    waiting_for: tuple[Awaited, ...] = ()

    def told(self) -> tuple[BillAccrual, ...]:
        """The accruals of the answer."""
        return tuple([judged.told() for judged in self.programmes])


encode_decision = msgspec.json.Encoder().encode
decode_decision = msgspec.json.Decoder(ActDecision).decode


def waits_for(act: RecordAct, facts: Facts) -> tuple[Awaited, ...]:
    """What must be learned before the act can be judged; nothing when it can be."""
    waits: list[Awaited] = []
    if act.merchant is not None and act.merchant not in facts.merchants:
        waits.append(("merchant", act.merchant))
    member = facts.members.get(act.identity.hash)
    if member is None:
        waits.append(("identity", act.identity.hash.hex()))
    elif not member.enrolled:
        waits.append(("member", str(member.member_id)))
    if not facts.programmes:
        waits.append(("programme", ANY_PROGRAMME))
    waits += [("programme", one) for one in _concerned(act, member, facts) if one not in facts.programmes]
    return tuple(waits)


def admit(act: RecordAct, facts: Facts, now: datetime) -> None:
    """Refuses an act that no programme concerned takes: occurred_in_future, act_unknown, occurred_too_early,
    act_data_invalid. Programmes that are not known yet might: then it isn't refused."""
    if act.occurred_at > now + FUTURE:
        raise OccurredInFuture("The act lies more than 5 minutes in the future.", pointer="/occurred_at")
    if act.occurred_at < EARLIEST:
        raise OccurredTooEarly("The act lies before 1970.", pointer="/occurred_at")
    reasons: set[str] = set()
    errors: list[FieldError] = []
    for programme in _concerned(act, facts.members.get(act.identity.hash), facts):
        versions = facts.programmes.get(programme)
        if versions is None:
            return
        version = active_at(versions, act.occurred_at)
        reason = _passed_over(act, version, now)
        if reason is None:
            return
        reasons.add(reason)
        if reason == "act_data_invalid":
            errors = errors or version.acts[act.act].objections(act.data)
    if errors:
        raise ActDataInvalid(
            f"The data of this act is not what the programme asks for: {errors[0].detail}", errors=errors
        )
    if "occurred_too_early" in reasons:
        said = "The act happened before the backdating window of its programme."
        raise OccurredTooEarly(said, pointer="/occurred_at")
    if "programme_closed" in reasons:
        raise ProgrammeClosed(
            "The programme of this act was closed before it happened.", pointer="/occurred_at"
        )
    if reasons:
        said = f"No programme of this member takes the act {act.act} from outside. Declare it under earning.acts."
        raise ActUnknown(said, pointer="/act")


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """An act on its way to its decision, before it is looked at what was given before."""

    act: RecordAct
    member_id: UUID
    programmes: list[tuple[CompiledProgramme, CompiledAct, Wallet, str | None, Standing | None, ActWorth]]
    passed_over: list[tuple[str, str]]
    birth_month: int | None

    def counters(self) -> set[CapKey | BudgetKey]:
        """The counters that have to be known, and held, before it is decided."""
        return {
            key
            for version, kind, wallet, _, _, worth_ in self.programmes
            if worth_.result == "able"
            for key in kind.counters(
                version.code, wallet.wallet_id, day_of(self.act.occurred_at, version.zone)
            )
        }


def weigh(act: RecordAct, facts: Facts, now: datetime) -> Weighed:
    """What an act that waits for nothing would give in each wallet."""
    member = facts.members[act.identity.hash]
    weighed = []
    passed_over: list[tuple[str, str]] = []
    for wallet in member.wallets:
        if act.programme is not None and wallet.programme != act.programme:
            continue
        version = active_at(facts.programmes[wallet.programme], act.occurred_at)
        if reason := _passed_over(act, version, now):
            passed_over.append((wallet.programme, reason))
            continue
        kind = kind_of(act, version)
        assert kind is not None, "else it was passed over"
        standing = standing_at(wallet, facts, act.occurred_at)
        tier = standing.tier if standing is not None else version.ladder[0].code if version.ladder else None
        subject = ActSubject(
            occurred_at=act.occurred_at, zone=version.zone, tier=tier, merchant=act.merchant, data=act.data
        )
        weighed.append((version, kind, wallet, tier, standing, kind.worth(subject)))
    return Weighed(act, member.member_id, weighed, passed_over, member.birth_month)


def decide(weighed: Weighed, new_id: Callable[[], UUID], spent: dict[CapKey | BudgetKey, int]) -> ActDecision:
    """The decision, after what was `spent` by counter. What this one gives is added there."""
    act = weighed.act
    judged = []
    for version, kind, wallet, tier, standing, found in weighed.programmes:
        points, result = 0, found.result
        caps: tuple[Room, ...] = ()
        member_caps: tuple[Room, ...] = ()
        budget: tuple[int, int] | None = None
        if result == "able":
            today = day_of(act.occurred_at, version.zone)
            points, caps, member_caps, budget = kind.within(
                version.code, wallet.wallet_id, today, found.wanted, spent
            )
            result = "applied" if points else "used_up"
            for key in kind.counters(version.code, wallet.wallet_id, today) if points else ():
                spent[key] = spent.get(key, 0) + points
        expires_at = version.expires_at(act.occurred_at, weighed.birth_month)
        accrual = Accrual(new_id(), "earn", points, new_id(), expires_at)
        judged.append(
            ActJudged(
                programme=version.code,
                version=version.version,
                wallet_id=wallet.wallet_id,
                currency=version.currency,
                point_value=version.point_value,
                act=kind.code,
                result=result,
                tier=tier,
                tier_event_id=standing.event_id if standing is not None else None,
                tier_sequence=standing.sequence if standing is not None else None,
                condition=found.condition,
                units=found.units,
                wanted=found.wanted,
                caps=caps,
                member_caps=member_caps,
                budget=budget,
                points=points,
                accruals=(accrual,) if points else (),
                referral=msgspec.convert(act.data, ForReferral) if act.on == "referral" else None,
            )
        )
    return ActDecision(
        status="earned" if any(one.points for one in judged) else "nothing",
        member_id=weighed.member_id,
        programmes=tuple(judged),
        passed_over=tuple(weighed.passed_over),
    )


def kind_of(act: RecordAct, version: CompiledProgramme) -> CompiledAct | None:
    """What the version declares of such an act: of one that is reported by its code, of any other by what it comes of."""
    if act.on == "reported":
        found = version.acts.get(act.act)
        return found if found is not None and found.on == "reported" else None
    return next((one for one in version.acts.values() if one.on == act.on), None)


def _concerned(act: RecordAct, member: Member | None, facts: Facts) -> Collection[str]:
    if act.programme is not None:
        return (act.programme,)
    if member is not None:
        return [wallet.programme for wallet in member.wallets]
    return facts.programmes.keys()


def _passed_over(act: RecordAct, version: CompiledProgramme, now: datetime) -> str | None:
    if version.closed:
        return "programme_closed"
    kind = kind_of(act, version)
    if kind is None:
        return "act_unknown"
    if act.on != "reported":
        return None  # the engine tells of it when it hears of it, however late that is
    if version.backdating is not None and act.occurred_at < now - version.backdating:
        return "occurred_too_early"
    return "act_data_invalid" if kind.objections(act.data) else None
