# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What is done about postings that somebody says are wrong: disputed, upheld with evidence by somebody else, or rejected."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from shared.ids import uuid7
from tests.integration.redeem.model.machine import Machine
from tests.support.models.dispute import ModelDisputes
from tests.support.models.replies import Said, refuse

WHOLE: Said = {"reference": "CASE-7", "sha256": hashlib.sha256(b"letter").hexdigest()}
EVIDENCE = st.sampled_from([None, {"reference": "CASE-7"}, WHOLE, WHOLE])
PEOPLE = st.sampled_from(["noor", "noor", "omar"])


class Disputing(Machine):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self.disputes: list[str] = []
        self.complaints = ModelDisputes(self.model)

    @rule(
        data=st.data(), points=st.integers(-15, 12), evidence=EVIDENCE, opener=PEOPLE,
        of=st.sampled_from(["any", "any", "any", "any", "disputed", "disputed", "none", "service"]),
    )  # fmt: skip
    def a_posting_is_disputed(
        self, data: st.DataObject, points: int, evidence: Said | None, opener: str, of: str
    ) -> None:
        known = [one.posting for one in self.complaints.disputes]
        if of != "disputed" or not known:
            lines: list[Said] = self.read("ledger", limit=20)["items"]
            known = list(dict.fromkeys(line["posting_id"] for line in lines))
        posting = known[data.draw(st.integers(0, len(known) - 1))]
        self._dispute(posting, points, evidence, opener, of)

    def _dispute(
        self, posting: str, points: int, evidence: Said | None, opener: str, of: str = "any"
    ) -> None:
        body: Said = {"posting_id": posting, "points": points, "reason": "not-mine"}
        body |= {} if evidence is None else {"evidence": evidence}
        token: dict[str, Any] = {"role": "support", "subject": opener}
        if of == "service":
            self.post("disputes", body, refuse("person_required"), **token, kind="service")
            return
        if of == "none":
            body["posting_id"] = str(uuid7())
        expected = self.complaints.open(posting if of != "none" else None, points, evidence, opener)
        said = self.post("disputes", body, expected, **token)
        if expected.status == 201:
            self.disputes.append(said["dispute_id"])

    @precondition(lambda self: self.disputes)
    @rule(
        data=st.data(), uphold=st.sampled_from([True, True, False]), evidence=EVIDENCE, decider=PEOPLE,
        mfa=st.sampled_from([True] * 9 + [False]),
    )  # fmt: skip
    def a_dispute_is_decided(
        self, data: st.DataObject, uphold: bool, evidence: Said | None, decider: str, mfa: bool
    ) -> None:
        k = data.draw(st.integers(0, len(self.disputes) - 1))
        self._decide(k, uphold=uphold, evidence=evidence, decider=decider, mfa=mfa)

    def _decide(self, k: int, *, uphold: bool, evidence: Said | None, decider: str, mfa: bool = True) -> None:
        body = {"note": "looked at"} | ({"evidence": evidence} if uphold and evidence is not None else {})
        one = self.complaints.disputes[k]
        given = evidence if uphold else None
        expected = refuse("mfa_required")
        if mfa:
            expected = self.complaints.decide(
                one, uphold=uphold, evidence=given, decider=decider, now=self.now
            )
        path = f"disputes/{self.disputes[k]}/{'uphold' if uphold else 'reject'}"
        said = self.post(path, body, expected, role="finance", subject=decider, mfa=mfa)
        if expected.status == 200:
            assert (said["adjustment_id"] is not None) == uphold
            assert said["evidence"] == (one.evidence and {"sha256": None, **one.evidence})

    @rule(points=st.integers(-12, 12).filter(bool), again=st.booleans())
    def the_newest_posting_is_disputed_and_put_right(self, points: int, again: bool) -> None:
        line: Said = self.read("ledger", limit=1)["items"][0]
        disputes = len(self.disputes)
        self._dispute(line["posting_id"], points, None, "noor")
        if len(self.disputes) == disputes:
            return
        for uphold, evidence, decider in (
            (True, None, "omar"),
            (True, WHOLE, "noor"),
            (not again, WHOLE, "omar"),
            (again, WHOLE, "omar"),
        ):
            self._decide(disputes, uphold=uphold, evidence=evidence, decider=decider)
        self._dispute(line["posting_id"], points, WHOLE, "noor")
