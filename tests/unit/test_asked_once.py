"""Which version, which wallet, which day: each is asked in one place, and every query that looks one up by itself is listed here.

The same three mistakes were found in handler after handler: an older version answered where the newest counts, a merge was followed
one step, a day was reckoned anew. Whoever adds a query here says why it is right.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("earn", "redeem")

OF_VERSIONS = {
    "earn/acts.sql ready_acts": "whether any is known",
    "earn/queries.sql known_awaited": "whether any is known",
    "earn/queries.sql overlooked_bills": "whether any is known",
    "earn/queries.sql programme_documents": "known_programmes",
    "earn/queries.sql programme_versions": "known_programmes",
    "redeem/giving.sql liability": "the currency, which no version changes",
    "redeem/liability.sql owed": "what the version of the moment that is asked about says a point was worth",
    "redeem/liability.sql programmes": "the time zone, which no version changes",
    "redeem/moving.sql ready_asked": "whether any is known",
    "redeem/reading.sql wallet_value": "the newest, in the one read of a balance",
    "redeem/redemptions.sql party": "the newest, of a quote: versions.as_found",
    "redeem/redemptions.sql whole_redemptions": "the newest, with what was sold: versions.as_found",
    "redeem/rewards.sql benefits_by_id": "the currency, which no version changes",
    "redeem/statements.sql programmes": "the currency and the time zone, which no version changes",
    "redeem/versions.sql all_newest_versions": "store/versions.py",
    "redeem/versions.sql idle_versions": "store/versions.py",
    "redeem/versions.sql newest_versions": "store/versions.py",
    "redeem/versions.sql programme": "store/versions.py",
    "redeem/versions.sql versions_at": "store/versions.py",
}
"""Queries that read versions of programmes, and what of them."""

OF_MERGES = {
    "earn/benefits.sql wallets_of_member": "who goes on, to the end of the chain",
    "earn/merging.sql add_heirs": "what a merge says",
    "earn/merging.sql add_merged_member": "what a merge says",
    "earn/merging.sql goes_on_as": "who goes on, to the end of the chain",
    "earn/referrals.sql open_referrals": "who both go on as, to the end of the chain",
    "earn/reviews.sql cashiers": "who goes on, to the end of the chain",
    "redeem/adjustments.sql wallet_status": "as a name of what is answered: the heir",
    "redeem/merging.sql add_merged_member": "what a merge says",
    "redeem/merging.sql end_wallet": "what a merge says",
    "redeem/merging.sql find_in_wallets": "all who go on as a member, from the end of the chain",
    "redeem/merging.sql merged_members": "who goes on, to the end of the chain",
    "redeem/queries.sql learn_members": "all who go on as a member, from the end of the chain",
    "redeem/reading.sql wallet_value": "as a name of what is answered: the heir",
}
"""Queries that read single merges. Wallets have `heirs`, which knows the end of each chain."""

OF_ONE_WALLET = {
    "earn/benefits.sql standing_of_bills": "what a decision gave to the wallet that it names",
    "earn/days.sql count_accruals": "joins accruals to bills; of no wallet",
    "earn/queries.sql bills_of_wallet": "the bills that were judged for the wallet itself, as its ledger is its own",
    "earn/queries.sql standings_of": "tiers tells the heir's standing: what both were is added up there",
    "earn/reviews.sql thin": "drops rows one by one",
    "redeem/liability.sql owed": "sums over all wallets",
    "redeem/offline.sql standing_allowances": "an allowance bounds a terminal, whoever the member is (decision 186)",
    "redeem/reading.sql ledger_page": "joins lines to what they are of",
    "redeem/redemptions.sql standings_of": "tiers tells the heir's standing: what both were is added up there",
    "redeem/rewards.sql wallet_of_member": "tiers tells the heir's standing: what both were is added up there",
}
"""Queries that read by a wallet what is counted for a person, and not for who was merged into it."""

COUNTED = (
    "accruals|adjustment_parts|allowances|benefits|caps|effects|notices|openings|redemptions|reinstatements|sightings|stamp_cards"
    "|standings|tier_history"
)
"""Tables of what a person did, had or was told, by the wallet that it was for."""


def queries() -> Iterator[tuple[str, str]]:
    """Each query of earn and of the bank with its name, without comments."""
    for service in SERVICES:
        folder = ROOT / "services" / service
        for file in sorted([folder / "queries.sql", *(folder / "store").glob("*.sql")]):
            for part in re.split(r"^-- name: ", file.read_text(), flags=re.MULTILINE)[1:]:
                name, _, body = part.partition("\n")
                yield f"{service}/{file.name} {name.strip('!$^')}", re.sub(r"--.*", "", body)


def reads_versions(query: str) -> bool:
    return re.search(r"\b(FROM|JOIN) programmes\b", query) is not None


def reads_merges(query: str) -> bool:
    return re.search(r"\bmerged_(members|into)\b", query) is not None


def reads_one_wallet(query: str) -> bool:
    counted = re.search(rf"\b(FROM|JOIN) ({COUNTED})\b", query)
    by_wallet = re.search(r"\bwallet_id\s*(=|IN\b)", query)
    return counted is not None and by_wallet is not None and re.search(r"\bheirs\b", query) is None


@pytest.mark.parametrize(
    ("reads", "listed"),
    [(reads_versions, OF_VERSIONS), (reads_merges, OF_MERGES), (reads_one_wallet, OF_ONE_WALLET)],
    ids=["versions of programmes", "single merges", "one wallet of a person"],
)
def test_whoever_looks_it_up_by_itself_is_listed(reads, listed) -> None:  # type: ignore[no-untyped-def]
    assert {name for name, query in queries() if reads(query)} == set(listed)


PLACES = {
    r"\bcompile_programme\(": {
        "services/earn/store/facts.py",
        "services/redeem/store/versions.py",
        "shared/programme/compiled.py",  # where it is made
    },
    r"\bversions\[-?\d+\]|\bversions\[\w+\]\[-?\d+\]|\bprogrammes\[\w+\]\[-?\d+\]|\.version == \w+\.version\b": {
        "services/earn/domain/versions.py",
    },
    r"\bactivated_at <=|\bsince <= at\b(?! <)|\bbisect_right\(versions\b": {
        "services/earn/domain/versions.py",
        "services/redeem/domain/silence.py",  # versions of a rule, one after the other
    },
    r"\.heirs_of\(|\.goes_on_as\(|\.merged_members\(": {
        "services/earn/store/merging.py",
        "services/redeem/store/merging.py",
    },
    r"\.astimezone\([^)]*zone\)\.date\(\)|\bdatetime\.combine\([^)]*zone|\.replace\([^)]*\bday=1\b": {
        "services/redeem/domain/months.py",  # months of the ledger's partitions, in UTC
        "shared/programme/days.py",
    },
}
"""Ways to look one of them up, and the modules that do."""


@pytest.mark.parametrize("way", list(PLACES))
def test_one_module_of_a_service_does_it(way: str) -> None:
    folders = [ROOT / "services" / service for service in SERVICES] + [ROOT / "shared" / "programme"]
    found = {
        str(file.relative_to(ROOT))
        for folder in folders
        for file in folder.rglob("*.py")
        if re.search(way, file.read_text())
    }
    assert found == PLACES[way]
