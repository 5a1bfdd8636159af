"""What a bill waits for, whether it is taken, and what it is worth: pure, from the bill and the facts known of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from services.earn.domain.bill import RecordBill
from services.earn.domain.conversion import Conversion, Rate, convert
from services.earn.domain.decision import Accrual, Awaited, Decision, Judged, Seen
from services.earn.domain.giving import CardKey, given, punched, taken_off, variances
from services.earn.domain.limits import MAX_MINOR
from services.earn.domain.versions import Versions, active_at
from shared.errors import AmountOutOfRange, CurrencyMismatch, ProgrammeClosed, Refusal, TerminalUnknown
from shared.programme.campaigns import BudgetKey, CapKey, Limits
from shared.programme.checkout import Offered, Stamped, counters
from shared.programme.compiled import CompiledProgramme, Earned
from shared.programme.earned import Details
from shared.programme.subject import Activity, Subject

__all__ = [
    "ANY_PROGRAMME",
    "BudgetKey",
    "CapKey",
    "CardKey",
    "Facts",
    "Member",
    "OccurredInFuture",
    "OccurredTooEarly",
    "SegmentStay",
    "Standing",
    "Wallet",
    "Weighed",
    "admit",
    "decide",
    "judge",
    "judged_alone",
    "standing_at",
    "waits_for",
    "weigh",
]

FUTURE = timedelta(minutes=5)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""However far a programme looks back: no till rang up before, and local calendars have no day one of year one."""
ANY_PROGRAMME = "*"


RateKey = tuple[str, str, datetime]
"""From a currency, into a currency, at a moment."""


class OccurredInFuture(Refusal):
    code = "occurred_in_future"


class OccurredTooEarly(Refusal):
    code = "occurred_too_early"


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A tier as tiers told it: which event, from when it holds, and until when; None: without end."""

    tier: str
    event_id: UUID
    sequence: int
    effective_at: datetime
    until: datetime | None = None


class Wallet(msgspec.Struct, frozen=True, gc=False):
    """A member's wallet with its latest standing, None until tiers has spoken."""

    wallet_id: UUID
    programme: str
    standing: Standing | None


class Member(msgspec.Struct, frozen=True, gc=False):
    """Whom an identity names. Not `enrolled`: only a card was heard of so far, and not all wallets are known. `birth_month`: 1 to
    12, or None: not known."""

    member_id: UUID
    enrolled: bool
    wallets: tuple[Wallet, ...]
    birth_month: int | None = None


class SegmentStay(msgspec.Struct, frozen=True, gc=False):
    """When a member is in a segment, as members told it last."""

    segment: str
    from_at: datetime
    until_at: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What earn knows that concerns a batch of bills. `terminals` are those that their merchants list, `taken_off` those that they
    listed once. `members` by identity hash; `history` has the standings, by
    sequence, of wallets whose latest one came after a bill; `brands` by merchant, and `segments` by member, are known where
    a programme asks for them, `rates` where it accepts the currency of a bill."""

    merchants: Collection[str]
    terminals: Collection[tuple[str, str]]
    members: Mapping[bytes, Member]
    programmes: Mapping[str, Versions]
    history: Mapping[UUID, Sequence[Standing]] = field(default_factory=dict)
    brands: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[RateKey, Rate] = field(default_factory=dict)
    segments: Mapping[UUID, Sequence[SegmentStay]] = field(default_factory=dict)
    taken_off: Collection[tuple[str, str]] = ()


def segments_at(stays: Sequence[SegmentStay], at: datetime) -> frozenset[str]:
    """The segments that somebody with these stays was in then."""
    return frozenset(
        [one.segment for one in stays if one.from_at <= at and (one.until_at is None or at < one.until_at)]
    )


def judged_alone(programmes: Mapping[str, Versions]) -> bool:
    """Whether nothing but the bill itself decides: no cap or budget bounds its points, no guard counts it, no card is stamped."""
    return not any(
        version.limits is not None or version.guards or version.book.campaigns or version.book.cards
        for versions in programmes.values()
        for _, version in versions
    )


def standing_at(wallet: Wallet, facts: Facts, at: datetime) -> Standing | None:
    """The standing that held then, as far as it is known: the latest word among those about that time. None where there is none,
    or that one was over: everybody is in the first tier until told otherwise, and again when a status has ended."""
    found = wallet.standing
    if found is not None and found.effective_at > at:
        earlier = [one for one in facts.history.get(wallet.wallet_id, ()) if one.effective_at <= at]
        found = earlier[-1] if earlier else None
    return found if found is None or found.until is None or at < found.until else None


def waits_for(bill: RecordBill, facts: Facts, *, taken: bool = False) -> tuple[Awaited, ...]:
    """What must be learned before the bill can be judged; nothing when it can be. `taken`: its terminal was listed when it was
    taken, and may have been taken off since."""
    waits: list[Awaited] = []
    merchant, terminal, identity = bill.merchant, bill.terminal, bill.identity
    if merchant not in facts.merchants:
        waits.append(("merchant", merchant))
    if (
        terminal is not None
        and (merchant, terminal) not in facts.terminals
        and not (taken and (merchant, terminal) in facts.taken_off)
    ):
        waits.append(("terminal", f"{merchant}/{terminal}"))
    member = None
    if identity is not None:
        member = facts.members.get(identity.hash)
        if member is None:
            waits.append(("identity", identity.hash.hex()))
        elif not member.enrolled:
            waits.append(("member", str(member.member_id)))
    programmes = facts.programmes
    if not programmes:
        waits.append(("programme", ANY_PROGRAMME))
    waits += [("programme", one) for one in _concerned(bill, member, facts) if one not in programmes]
    return tuple(waits)


def admit(bill: RecordBill, facts: Facts, now: datetime) -> None:
    """Refuses a bill of a terminal that was taken off, terminal_unknown, and one that no programme concerned takes:
    occurred_in_future, programme_closed, currency_mismatch, occurred_too_early.

    Programmes that are not known yet might: then it isn't refused.
    """
    if (bill.merchant, bill.terminal) in facts.taken_off:
        raise TerminalUnknown(
            f"{bill.terminal} was taken off the terminals of {bill.merchant}. Once PUT /v1/merchants/{bill.merchant} "
            "names it again, send the bill again, by HTTP under a new Idempotency-Key.",
            pointer="/terminal",
        )
    if bill.occurred_at > now + FUTURE:
        raise OccurredInFuture("The bill lies more than 5 minutes in the future.", pointer="/occurred_at")
    if bill.occurred_at < EARLIEST:
        raise OccurredTooEarly("The bill lies before 1970.", pointer="/occurred_at")
    member = None if bill.identity is None else facts.members.get(bill.identity.hash)
    reasons: list[str] = []
    for programme in _concerned(bill, member, facts):
        versions = facts.programmes.get(programme)
        if versions is None:
            return
        reason = _passed_over(bill, active_at(versions, bill.occurred_at), now, facts)
        if reason is None:
            return
        reasons.append(reason)
    if "programme_closed" in reasons:
        raise ProgrammeClosed(
            "The programme of this bill was closed before it happened.", pointer="/occurred_at"
        )
    if "occurred_too_early" in reasons:
        raise OccurredTooEarly(
            "The bill happened before the backdating window of its programme.", pointer="/occurred_at"
        )
    if "amount_out_of_range" in reasons:
        said = f"Converted it is more than a bill may come to, {MAX_MINOR} minor units."
        raise AmountOutOfRange(said, pointer="/total_minor")
    if reasons:
        said = (
            f"No programme of this bill counts in {bill.currency}, or accepts it with a rate for that time."
        )
        raise CurrencyMismatch(said, pointer="/currency")


class Weighed(msgspec.Struct, frozen=True, gc=False):
    """A bill on its way to its decision: what rules and campaigns make of it in each wallet, before it is looked at what was
    given before."""

    bill: RecordBill
    member_id: UUID | None
    programmes: list[tuple[CompiledProgramme, Wallet, str | None, Standing | None, Earned]]
    passed_over: list[tuple[str, str]]
    conversions: Mapping[UUID, Conversion] = {}
    """By wallet, of a bill in another currency than the programme's."""
    birth_month: int | None = None

    def counters(self, *, quoted: bool = False) -> set[CapKey | BudgetKey]:
        """The counters that have to be known, and held, before it is decided."""
        bill = self.bill
        found = {
            key
            for version, wallet, _, _, earned in self.programmes
            if version.limits is not None
            for key in version.limits.counters(
                () if earned.details is None else earned.details.campaigns,
                earned.points,
                wallet.wallet_id,
                bill.occurred_at,
            )
        }
        for version, wallet, _, _, earned in self.programmes:
            if earned.offers:
                assert version.limits is not None, "a version with campaigns has limits"
                claims = None if quoted else bill.claims_of(version.code)
                found.update(
                    counters(version.limits, earned.offers, claims, wallet.wallet_id, bill.occurred_at)
                )
        return found

    def cards(self) -> set[CardKey]:
        """The stamp cards that have to be known, and held, before it is decided."""
        return {
            (wallet.wallet_id, one.card)
            for _, wallet, _, _, earned in self.programmes
            for one in earned.stamps
            if one.stamps
        }


def judge(
    bill: RecordBill,
    facts: Facts,
    now: datetime,
    new_id: Callable[[], UUID],
    activity: Mapping[UUID, Activity] | None = None,
) -> Decision:
    """The worth of a bill that waits for nothing, where nothing was given before."""
    return decide(weigh(bill, facts, now, activity), new_id, {})


def weigh(
    bill: RecordBill, facts: Facts, now: datetime, activity: Mapping[UUID, Activity] | None = None
) -> Weighed:
    """What rules and campaigns make of a bill that waits for nothing. `activity`, by wallet, is known where a programme asks
    for it, and goes on with this bill: the next one of the same member finds it there."""
    if bill.identity is None:
        return Weighed(bill, None, [], [])
    member = facts.members[bill.identity.hash]
    weighed = []
    passed_over: list[tuple[str, str]] = []
    conversions: dict[UUID, Conversion] = {}
    own = bill
    for wallet in member.wallets:
        if bill.programmes is not None and wallet.programme not in bill.programmes:
            continue
        version = active_at(facts.programmes[wallet.programme], bill.occurred_at)
        if reason := _passed_over(own, version, now, facts):
            passed_over.append((wallet.programme, reason))
            continue
        if version.currency == own.currency:
            bill = own
        else:
            bill, conversions[wallet.wallet_id] = _converted(own, version, facts)
        standing = standing_at(wallet, facts, bill.occurred_at)
        tier = standing.tier if standing is not None else version.ladder[0].code if version.ladder else None
        subject: Subject | None = None
        if not version.book.plain or bill.tenders:
            known = None if activity is None else activity[wallet.wallet_id]
            subject = _subject(bill, version, member.member_id, tier, facts, known)
        earned = version.book.earn(bill.lines, bill.total_minor, tier, subject)
        weighed.append((version, wallet, tier, standing, earned))
        if activity is not None:
            activity[wallet.wallet_id].goes_on(bill.occurred_at)
    return Weighed(own, member.member_id, weighed, passed_over, conversions, member.birth_month)


def decide(
    weighed: Weighed,
    new_id: Callable[[], UUID],
    spent: dict[CapKey | BudgetKey, int],
    cards: dict[CardKey, int] | None = None,
    seen: Mapping[UUID, tuple[Seen, ...]] | None = None,
    *,
    quoted: bool = False,
) -> Decision:
    """The decision, after what was `spent` by counter, and with so many stamps on the `cards`. What this one gives is added
    there. `seen`: by wallet, by guards. `quoted`: of all that could be given at the checkout, whatever is claimed."""
    bill = weighed.bill
    if weighed.member_id is None:
        return Decision(status="anonymous", variances=variances(bill, ()) if bill.claims else ())
    judged = [
        _judged(
            bill,
            version,
            wallet,
            tier,
            standing,
            earned,
            spent,
            new_id,
            given(bill, version, wallet.wallet_id, earned, spent, new_id, quoted=quoted),
            punched(wallet.wallet_id, earned, {} if cards is None else cards, new_id),
            (seen or {}).get(wallet.wallet_id, ()),
            weighed.birth_month,
        )
        for version, wallet, tier, standing, earned in weighed.programmes
    ]
    if weighed.conversions:
        judged = [
            msgspec.structs.replace(one, conversion=weighed.conversions.get(one.wallet_id)) for one in judged
        ]
    return Decision(
        status=_status(judged),
        member_id=weighed.member_id,
        programmes=tuple(judged),
        passed_over=tuple(weighed.passed_over),
        variances=variances(bill, judged) if bill.claims and not quoted else (),
    )


def _concerned(bill: RecordBill, member: Member | None, facts: Facts) -> Collection[str]:
    if bill.programmes is not None:
        return bill.programmes
    if member is not None:
        return [wallet.programme for wallet in member.wallets]
    return facts.programmes.keys()


def _passed_over(bill: RecordBill, version: CompiledProgramme, now: datetime, facts: Facts) -> str | None:
    if version.closed:
        return "programme_closed"
    if version.currency != bill.currency:
        rate = rate_of(bill, version, facts)
        if rate is None:
            return "currency_mismatch"
        if convert(bill, rate, version.currency) is None:
            return "amount_out_of_range"
    if version.backdating is not None and bill.occurred_at < now - version.backdating:
        return "occurred_too_early"
    return None


def rate_of(bill: RecordBill, version: CompiledProgramme, facts: Facts) -> Rate | None:
    """By what the version converts such a bill; None where it does not accept its currency, or nobody said what it is worth."""
    if bill.currency not in version.accepts:
        return None
    return facts.rates.get((bill.currency, version.currency, bill.occurred_at))


def _converted(bill: RecordBill, version: CompiledProgramme, facts: Facts) -> tuple[RecordBill, Conversion]:
    rate = rate_of(bill, version, facts)
    assert rate is not None, "else it was passed over"
    made = convert(bill, rate, version.currency)
    assert made is not None, "else it was passed over"
    conversion = Conversion(
        bill.currency, rate.number, rate.rate, rate.valid_from, rate.source, made.total_minor
    )
    return made, conversion


def _judged(
    bill: RecordBill,
    version: CompiledProgramme,
    wallet: Wallet,
    tier: str | None,
    standing: Standing | None,
    earned: Earned,
    spent: dict[CapKey | BudgetKey, int],
    new_id: Callable[[], UUID],
    offers: tuple[Offered, ...],
    stamps: tuple[Stamped, ...],
    seen: tuple[Seen, ...],
    birth_month: int | None,
) -> Judged:
    if version.limits is not None:
        earned = _allotted(bill, version.limits, wallet.wallet_id, earned, spent)
    reviewed = 0
    if any(one.flagged for one in seen):
        reviewed = earned.available
        earned = msgspec.structs.replace(earned, available=0, held=earned.points)
    return Judged(
        programme=version.code,
        version=version.version,
        wallet_id=wallet.wallet_id,
        currency=version.currency,
        point_value=version.point_value,
        tier=tier,
        tier_event_id=standing.event_id if standing is not None else None,
        tier_sequence=standing.sequence if standing is not None else None,
        multiplier=earned.multiplier,
        denominator=version.book.denominator,
        rules=earned.tried,
        lines=earned.lines,
        by_rule=earned.rules,
        points=earned.points,
        available=earned.available,
        held=earned.held,
        details=earned.details,
        accruals=_accruals(earned, version.expires_at(bill.occurred_at, birth_month), new_id),
        seen=seen,
        reviewed=reviewed,
        offers=offers,
        stamps=stamps,
    )


def _allotted(
    bill: RecordBill, limits: Limits, wallet_id: UUID, earned: Earned, spent: dict[CapKey | BudgetKey, int]
) -> Earned:
    """What of it is given, after what was given before; adds to that."""
    details = earned.details or Details()
    found = limits.allot(
        details.campaigns,
        earned.points,
        earned.available,
        wallet_id=wallet_id,
        occurred_at=bill.occurred_at,
        spent=spent,
    )
    for key, points in found.given.items():
        spent[key] = spent.get(key, 0) + points
    return msgspec.structs.replace(
        earned,
        points=found.points,
        available=found.available,
        held=found.points - found.available,
        details=msgspec.structs.replace(
            details,
            campaigns=found.campaigns,
            left_out=found.left_out,
            base=(earned.points, earned.available),
            caps=found.caps,
            cut=found.cut,
        ),
    )


def _subject(
    bill: RecordBill,
    version: CompiledProgramme,
    member_id: UUID,
    tier: str | None,
    facts: Facts,
    activity: Activity | None,
) -> Subject:
    """The bill as conditions ask about it."""
    return Subject(
        occurred_at=bill.occurred_at,
        zone=version.zone,
        total_minor=bill.total_minor,
        lines=bill.lines,
        merchant=bill.merchant,
        brand=facts.brands.get(bill.merchant),
        terminal=bill.terminal,
        channel=bill.channel,
        tenders=dict(bill.tenders),
        tier=tier,
        activity=activity,
        member_id=member_id,
        segments=segments_at(facts.segments.get(member_id, ()), bill.occurred_at),
        claims=taken_off(bill, version, member_id) if bill.claims else None,
    )


def _accruals(earned: Earned, expires_at: datetime | None, new_id: Callable[[], UUID]) -> tuple[Accrual, ...]:
    available, held = earned.available, earned.held
    made = (Accrual(new_id(), "earn", available, new_id(), expires_at),) if available else ()
    return (*made, Accrual(new_id(), "earn_held", held, new_id(), expires_at)) if held else made


def _status(judged: Sequence[Judged]) -> str:
    available = held = False
    for one in judged:
        available = available or one.available > 0
        held = held or one.held > 0
    if available:
        return "mixed" if held else "earned"
    return "held" if held else "nothing"
