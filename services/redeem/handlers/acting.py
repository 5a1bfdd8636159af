"""One act of a person on wallets that are locked: decided, told, noted, and kept for the write of its batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Adjust, Adjustment, DecideAdjustment, Part, Reinstate, Transfer
from services.redeem.domain.adjusting import adjust
from services.redeem.domain.answers import adjustment_out, dispute_out
from services.redeem.domain.approving import (
    check_alone,
    check_parts,
    check_reason,
    check_there,
    decided,
    requested,
)
from services.redeem.domain.disputes import DecideDispute, Dispute, correction, settled
from services.redeem.domain.expiring import check_reinstatement, expire, reinstate, wake
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Posting, check_worth
from services.redeem.domain.transferring import TransferToOneself, transfer
from services.redeem.handlers.tell import balance_now, tell_expired
from services.redeem.handlers.tell_moves import (
    tell_adjusted,
    tell_reinstated,
    tell_transferred,
    worth_of,
)
from services.redeem.store import postings
from services.redeem.store.adjustments import ActiveElsewhere, OpenedByOne, Reinstated, Said
from shared.errors import NotFound, ProgrammeClosed, ProgrammeUnknown
from shared.ids import uuid7
from shared.messaging import Done, Item, Tx
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


@dataclass
class Desk:
    """A batch of acts while it is decided: everything they name, as it was read under the locks and as they leave it."""

    tx: Tx
    now: datetime
    wallets: dict[UUID, Wallet]
    terms: dict[str, CompiledProgramme]
    lots: dict[UUID, Lot]
    adjustments: dict[UUID, Adjustment]
    disputes: dict[UUID, Dispute]
    alone: dict[UUID, int]
    """Points given to wallets, taken of them and brought back in them, within the last 24 hours without a second person."""
    opened: dict[UUID, list[Lot]]
    """The lots of opening balances that were posted before."""
    said: dict[UUID, Said] = field(default_factory=dict)
    """What was said when these were posted."""
    keys: list[postings.NewPosting] = field(default_factory=list)
    new: list[Adjustment] = field(default_factory=list)
    reinstated: list[Reinstated] = field(default_factory=list)
    by_one: list[OpenedByOne] = field(default_factory=list)
    active: list[ActiveElsewhere] = field(default_factory=list)
    changed: list[Adjustment] = field(default_factory=list)
    settled: list[Dispute] = field(default_factory=list)

    def transfer(self, item: Item[Any], command: Transfer) -> Done:
        """Refuses what `transfer` does, not_found, programme_closed and amount_out_of_range."""
        if command.giver == command.receiver:
            raise TransferToOneself("Giver and receiver are the same wallet. Name another receiver.")
        wallet, value = self.wallet_of(command.giver, "/from_wallet")
        receiver, _ = self.wallet_of(command.receiver, "/to_wallet")
        if value.closed:
            raise ProgrammeClosed.named(value.code, pointer="/from_wallet")
        check_worth(command.points, value, "/points")
        done = transfer(
            wallet,
            receiver,
            points=command.points,
            terms=value,
            now=self.now,
            transfer_id=command.transfer_id,
            new_id=uuid7,
        )
        if done.expired is not None:
            tell_expired(self.tx, item, value, wallet, self.keep(wallet, done.expired))
        if done.woken is not None:
            tell_expired(self.tx, item, value, receiver, self.keep(receiver, done.woken))
        tell_transferred(self.tx, item, value, wallet, receiver, self.keep(wallet, done.given), "given")
        tell_transferred(
            self.tx, item, value, receiver, wallet, self.keep(receiver, done.received), "received"
        )
        answer = {
            "transfer_id": command.transfer_id,
            "programme": wallet.programme,
            "from_wallet": wallet.wallet_id,
            "to_wallet": receiver.wallet_id,
            "effective_at": done.given.effective_at,
            "transferred": worth_of(done.given.points, value),
            "balance": balance_now(wallet, value, self.now),
        }
        return Done(201, _encode(answer))

    def request(self, item: Item[Any], command: Adjust) -> Done:
        """Posts an adjustment at once, or keeps it until somebody else has decided. Refuses reason_unknown, and what its parts are
        refused with."""
        value = self._terms(command.programme)
        check_reason(value, command.reason)
        check_parts(command.parts, self.wallets, value, self.now)
        made = requested(command, terms=value, alone=self.alone, by=item.actor, now=self.now)
        if made.state == "posted":
            check_there(made.parts, self.wallets, self.now)
            [part] = made.parts
            self.alone[part.wallet_id] = self.alone.get(part.wallet_id, 0) + abs(part.points)
        self.new.append(made)
        self.adjustments[made.adjustment_id] = made
        self._note("adjustment.request", item, made, None)
        if made.state == "posted":
            self._post(item, made, value)
        return Done(201 if made.state == "posted" else 202, _encode(adjustment_out(made, value)))

    def decide(self, item: Item[Any], command: DecideAdjustment) -> Done:
        """Posts a pending adjustment whole, as its wallets are now, or rejects it; a refusal leaves it pending. Refuses
        adjustment_decided, own_request, and what its parts are refused with."""
        before = self.adjustments.get(command.adjustment_id)
        if before is None:
            raise NotFound("There is no such adjustment.")
        made = decided(command, before, by=item.actor, now=self.now)
        value = self._terms(made.programme)
        if command.approve:
            check_parts(made.parts, self.wallets, value, self.now)
            check_there(made.parts, self.wallets, self.now)
        self.adjustments[made.adjustment_id] = made
        self.changed.append(made)
        self._note("adjustment.approve" if command.approve else "adjustment.reject", item, made, before)
        if command.approve:
            self._post(item, made, value)
        return Done(200, _encode(adjustment_out(made, value)))

    def settle(self, item: Item[Any], command: DecideDispute) -> Done:
        """Rejects a dispute, or upholds it and posts its correction. Refuses dispute_not_open, own_request, evidence_missing, and
        what the correction is refused with; a refusal leaves it open."""
        before = self.disputes.get(command.dispute_id)
        if before is None:
            raise NotFound("There is no such dispute.")
        made = settled(command, before, by=item.actor, now=self.now, adjustment_id=uuid7())
        value = self._terms(made.programme)
        corrected = correction(made, value, posting_id=uuid7()) if command.uphold else None
        if corrected is not None:
            check_there(corrected.parts, self.wallets, self.now)
            self.new.append(corrected)
        self.disputes[made.dispute_id] = made
        self.settled.append(made)
        self.tx.audit(
            "dispute.uphold" if command.uphold else "dispute.reject",
            f"dispute/{made.dispute_id}",
            item=item,
            before={"status": before.state, "opened_by": before.opened_by},
            after={**dispute_out(made, value), "note": None},
        )
        if corrected is not None:
            self._post(item, corrected, value)
        return Done(200, _encode(dispute_out(made, value)))

    def reinstate(self, item: Item[Any], command: Reinstate) -> Done:
        """Refuses not_found, reason_unknown, amount_out_of_range and adjustment_needs_second_person."""
        wallet, value = self.wallet_of(command.wallet_id, "/wallet_id")
        lot = self.lots.get(command.lot_id)
        if lot is None or lot.wallet_id != wallet.wallet_id:
            raise NotFound("The wallet has no such lot.")
        check_reason(value, command.reason)
        check_worth(command.points, value, "/points")
        check_reinstatement(lot, points=command.points, expires_at=command.expires_at, now=self.now)
        check_alone(command.points, self.alone.get(wallet.wallet_id, 0), value)
        self.awake(item, wallet, value, self.now)
        # What nobody swept of the lot must not come back with it.
        if (late := expire(wallet, terms=value, now=self.now, new_id=uuid7, lots=[lot])) is not None:
            tell_expired(self.tx, item, value, wallet, self.keep(wallet, late))
        back = reinstate(
            wallet,
            lot,
            points=command.points,
            expires_at=command.expires_at,
            value=value,
            effective_at=self.now,
            source_id=command.reinstatement_id,
            posting_id=command.reinstatement_id,
        )
        self.alone[wallet.wallet_id] = self.alone.get(wallet.wallet_id, 0) + command.points
        self.reinstated.append(
            Reinstated(
                back.posting_id,
                wallet.wallet_id,
                lot.lot_id,
                back.points,
                command.reason,
                value.version,
                value.adjusting.second_person_above,
                item.actor,
                self.now,
            )
        )
        tell_reinstated(self.tx, item, value, wallet, self.keep(wallet, back), (lot,), command.reason)
        answer = {
            "reinstatement_id": command.reinstatement_id,
            "programme": wallet.programme,
            "wallet_id": wallet.wallet_id,
            "lot_id": lot.lot_id,
            "effective_at": back.effective_at,
            "expires_at": command.expires_at,
            "reinstated": worth_of(back.points, value),
            "balance": balance_now(wallet, value, self.now),
        }
        return Done(201, _encode(answer))

    def _post(self, item: Item[Any], made: Adjustment, value: CompiledProgramme) -> None:
        for part in made.parts:
            self._adjust(item, self.wallets[part.wallet_id], part, made, value)

    def _adjust(
        self, item: Item[Any], wallet: Wallet, part: Part, made: Adjustment, value: CompiledProgramme
    ) -> None:
        if part.points > 0:
            self.awake(item, wallet, value, self.now)
        adjusted, expired = adjust(
            wallet,
            points=part.points,
            expires_at=part.expires_at,
            consumption=value.consumption,
            value=value,
            now=self.now,
            source_id=made.adjustment_id,
            posting_id=part.posting_id,
            new_id=uuid7,
        )
        if expired is not None:
            tell_expired(self.tx, item, value, wallet, self.keep(wallet, expired))
        tell_adjusted(self.tx, item, value, wallet, self.keep(wallet, adjusted), made, part)

    def awake(self, item: Item[Any], wallet: Wallet, value: CompiledProgramme, at: datetime) -> None:
        """Its member did something then: expires what had ended of its silence before."""
        if (late := wake(wallet, at=at, value=value, new_id=uuid7)) is not None:
            tell_expired(self.tx, item, value, wallet, self.keep(wallet, late))

    def keep(self, wallet: Wallet, posting: Posting) -> Posting:
        """Keeps its id for the write of the batch."""
        self.keys.append(postings.NewPosting.of(wallet, posting))
        return posting

    def wallet_of(self, wallet_id: UUID, pointer: str) -> tuple[Wallet, CompiledProgramme]:
        """A locked wallet with its programme. Refuses not_found and programme_unknown."""
        wallet = self.wallets.get(wallet_id)
        if wallet is None:
            raise NotFound("There is no such wallet.", pointer=pointer)
        return wallet, self._terms(wallet.programme)

    def _terms(self, programme: str) -> CompiledProgramme:
        value = self.terms.get(programme)
        if value is None:
            raise ProgrammeUnknown(f"No word of the programme {programme} has come here yet.")
        return value

    def _note(self, action: str, item: Item[Any], made: Adjustment, before: Adjustment | None) -> None:
        value = self.terms[made.programme]
        self.tx.audit(
            action,
            f"adjustment/{made.adjustment_id}",
            item=item,
            before=None if before is None else {"status": before.state, "requested_by": before.requested_by},
            after={
                **adjustment_out(made, value),
                "note": None,
            },  # somebody's words, and the audit forgets nothing
        )
