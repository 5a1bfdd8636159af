"""What refunds give back to budgets and caps, as the oracle computes it: the last rounded share of what each accrual lost."""

from datetime import date

from pointbank.verify.earning.counters import Counters
from pointbank.verify.earning.decisions import Accrual, Judged, KeptDetails
from pointbank.verify.programme.campaigns import Tried

DAY = date(2026, 11, 22)
ROOMS = (("day", DAY, 0, 50),)


def test_each_accrual_gives_back_its_own_share_of_a_campaign_and_all_of_itself_to_the_programme() -> None:
    made = Judged(
        "p", 1, "w", "SAR", "0.10", (1, 1), 1, 205, 105, 100,
        accruals=(Accrual("now", "earn", 105, "a"), Accrual("held", "earn_held", 100, "b")),
        details=KeptDetails(campaigns=(Tried("c", "applied", budget=(0, 900), caps=ROOMS, points=40, held=10),), caps=ROOMS),
    )  # fmt: skip
    sums = Counters()
    sums.count(made, {"now": 50, "held": 99})
    back = 30 * 50 // 105 + 10 * 99 // 100
    assert back == 14 + 9
    assert sums.budgets == {("p", "c", "decided"): 40, ("p", "c", "given back"): 23}
    assert sums.caps == {
        ("w", "c", "day", DAY, "decided"): 40,
        ("w", "c", "day", DAY, "given back"): 23,
        ("w", "", "day", DAY, "decided"): 205,
        ("w", "", "day", DAY, "given back"): 149,
    }
