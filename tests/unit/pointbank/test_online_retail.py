import gzip
from collections import Counter
from pathlib import Path

import pytest

from pointbank.retail.cancellations import match
from pointbank.retail.online_retail import NotOnlineRetail, expected_points, invoices
from pointbank.retail.replay import run_replay

FILE = Path(__file__).parents[4] / "shared" / "data" / "online-retail-2010-12.csv.gz"
HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"


def test_quantities_that_are_not_positive_are_left_out_and_positions_stay(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text(
        HEAD
        + "536365,85123A,HOLDER,6,2010-12-01T08:26:00,2.55,17850\n"
        + "536365,71053,LANTERN,-1,2010-12-01T08:26:00,3.39,17850\n"
        + "536365,BANK CHARGES,Bank Charges,1,2010-12-01T08:27:00,15,17850\n"
        + "C536379,D,Discount,-1,2010-12-01T09:41:00,27.5,14527\n"
        + '536589,21777,"RECIPE BOX, METAL",-10,2010-12-01T16:50:00,0,\n'
    )
    sale, cancelled, empty = invoices(file)
    assert sale.bill is not None
    assert sale.bill["occurred_at"] == "2010-12-01T08:26:00Z"
    assert sale.bill["member"] == {"external_id": "17850"}
    assert sale.bill["total_minor"] == 3030
    assert [(line["line_id"], line["sku"], line["amount_minor"]) for line in sale.bill["lines"]] == [
        ("1", "85123A", 1530),
        ("3", "BANK CHARGES", 1500),
    ]
    assert expected_points(sale) == 30
    assert (cancelled.number, cancelled.bill) == ("C536379", None)
    assert empty.bill is not None
    assert empty.bill["lines"] == []
    assert empty.bill["total_minor"] == 0
    assert "member" not in empty.bill


def test_london_time_is_summer_time_in_summer(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv.gz"
    with gzip.open(file, "wt") as text:
        text.write(HEAD + "556201,22423,STAND,1,2011-06-09T12:00:00,12.75,12431\n")
    (sale,) = invoices(file)
    assert sale.bill is not None
    assert sale.bill["occurred_at"] == "2011-06-09T11:00:00Z"


def test_the_months_first_of_the_common_export_are_read_too(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"
        "556201,22423,STAND,1,6/9/2011 12:00,12.75,12431,Belgium\n"
    )
    winter, summer = invoices(file)
    assert winter.bill is not None
    assert summer.bill is not None
    assert (winter.told_at, winter.bill["occurred_at"]) == ("2010-12-01T08:26:00Z", "2010-12-01T08:26:00Z")
    assert summer.bill["occurred_at"] == "2011-06-09T11:00:00Z"


NO_TIME = "write it as 2010-12-01T08:26:00, or with the month first, as 12/1/2010 8:26"


ALL = "InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice and CustomerID"
NO_PRICE = "is no price; write it in pounds, as 2.55"
DAY = "2010-12-01T08:26:00"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", f"line 1: the columns {ALL} are missing"),
        ("", f"line 1: the columns {ALL} are missing"),
        (HEAD.replace("Quantity", "Count"), "line 1: the column Quantity is missing"),
        (HEAD + "1,A,X,6\n", "line 2 has fewer columns than line 1"),
        (
            HEAD + f"1,A,X,Y,6,{DAY},2.55,17850\n",
            "line 2 has more columns than line 1; a comma within a text needs quotes around it",
        ),
        (HEAD + f",A,X,6,{DAY},2.55,17850\n", "line 2: InvoiceNo is empty"),
        (
            HEAD + "1,A,X,6,13/1/2010 8:26,2.55,17850\n",
            f"line 2: InvoiceDate '13/1/2010 8:26' is no time; {NO_TIME}",
        ),
        (HEAD + "1,A,X,6,,2.55,17850\n", f"line 2: InvoiceDate '' is no time; {NO_TIME}"),
        (HEAD + f"1,A,X,,{DAY},2.55,17850\n", "line 2: Quantity '' is no whole number"),
        (HEAD + f"1,A,X,six,{DAY},2.55,17850\n", "line 2: Quantity 'six' is no whole number"),
        (HEAD + f"1,A,X,6,{DAY},,17850\n", f"line 2: UnitPrice '' {NO_PRICE}"),
        (HEAD + f"1,A,X,6,{DAY},-2.55,17850\n", f"line 2: UnitPrice '-2.55' {NO_PRICE}"),
        (HEAD + f"1,A,X,6,{DAY},0.001,17850\n", "line 2: 6 at 0.001 is no sum in whole pence"),
        (HEAD + f"C1,A,X,6,{DAY},2.55,17850\n", "line 2: Quantity 6 of a cancellation is above zero"),
    ],
)
def test_what_is_no_online_retail_file_is_told_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "other.csv"
    file.write_text(content)
    with pytest.raises(NotOnlineRetail) as told:
        list(invoices(file))
    assert str(told.value) == f"{file}, {said}"


def test_a_file_that_is_none_starts_no_server(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(NotOnlineRetail):
        run_replay(file, state=tmp_path / "var", via="stream", as_json=False)
    assert not (tmp_path / "var").exists()


@pytest.mark.skipif(not FILE.exists(), reason="the Online Retail file is not part of the project")
def test_the_known_answer_of_december_2010() -> None:
    found = list(invoices(FILE))
    sales = [one for one in found if one.bill is not None]
    assert len(found) == 2025
    assert len(found) - len(sales) == 326
    assert len(sales) == 1699
    assert sum(one.customer is not None for one in sales) == 1400
    assert len({one.customer for one in sales} - {None}) == 885
    assert sum(one.customer is None for one in sales) == 299
    points: Counter[str | None] = Counter()
    for one in sales:
        points[one.customer] += expected_points(one)
    assert points.total() == 572_051
    assert points.most_common(3) == [("18102", 27_833), ("15061", 19_946), ("16029", 13_110)]


def test_a_cancelled_line_gives_back_of_the_latest_earlier_bill_of_its_customer_first(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text(
        HEAD
        + "1,A,,2,2010-12-01T08:00:00,5,77\n"
        + "2,A,,3,2010-12-01T09:00:00,5,77\n"
        + "3,A,,9,2010-12-01T09:30:00,5,88\n"
        + "C4,A,,-4,2010-12-01T10:00:00,5,77\n"
        + "C4,B,,-1,2010-12-01T10:00:00,5,77\n"
        + "C5,A,,-2,2010-12-01T11:00:00,5,77\n"
        + "C6,A,,-1,2010-12-01T11:00:00,5,\n"
        + "7,A,,1,2010-12-01T12:00:00,5,77\n"
    )
    told = match(invoices(file))
    given_back = [
        (one["refund_ref"], [(line["line_id"], line["amount_minor"]) for line in one["lines"]])
        for one in told.refunds
    ]
    assert given_back == [("C4/2", [("1", 1500)]), ("C4/1", [("1", 500)]), ("C5/1", [("1", 500)])]
    assert (told.whole, told.partly, told.unmatched) == (0, 2, 1)
    assert (told.lines, told.lines_whole, told.lines_partly, told.lines_unmatched) == (4, 1, 1, 2)
    assert (told.refunded_minor, told.unmatched_minor) == (2500, 1500)


@pytest.mark.skipif(not FILE.exists(), reason="the Online Retail file is not part of the project")
def test_the_cancellations_of_december_2010_are_matched_as_the_documents_say() -> None:
    told = match(invoices(FILE))
    assert (told.whole, told.partly, told.unmatched, len(told.refunds)) == (130, 19, 177, 163)
    assert (told.lines, told.lines_whole, told.lines_partly, told.lines_unmatched) == (728, 297, 2, 429)
    assert (told.refunded_minor, told.unmatched_minor) == (816_883, 6_662_029)
