"""The comparison of pages with made tables finds what differs, and only that."""

from pathlib import Path

import pytest
from _docs import agree, compare, report, tables

ROOT = Path(__file__).parents[2]

PAGE = """\
Some words.

| nodes | l=1 (%) | `both` | seconds |
|---|---|---|---|
| 42 + 42 | 2.08 | 0.315 / 0.951 | 1.2 |
| **162 + 162** | 0.307 | > 10 | 3.4 |
"""


def made(text: str) -> dict:
    return {"bench": tables(text)}


def test_a_table_is_read():
    (table,) = tables(PAGE)
    assert table.line == 3
    assert table.columns == ("nodes", "l=1 (%)", "both", "seconds")
    assert table.rows[1] == ("162 + 162", "0.307", "> 10", "3.4")


@pytest.mark.parametrize(
    ("told", "now", "same"),
    [
        ("2.08", "2.08", True),
        ("2.08", "2.0899", True),
        ("2.08", "2.10", False),
        ("0.0467", "0.04665", True),
        ("8.9e-16", "1.1e-15", True),
        ("1.21e-2", "1.25e-2", False),
        ("642", "643", True),
        ("642", "644", False),
        ("0.315 / 0.951", "0.315 / 0.960", False),
        ("> 10", "> 10", True),
        ("> 10", "9.9", False),
        ("0.81 / 0.9", "0.81", False),
        ("outer side", "inner side", False),
    ],
)
def test_numbers_agree_to_the_last_printed_digit(told, now, same):
    assert agree(told, now) is same


def test_timings_are_left_out_and_other_differences_are_named():
    now = PAGE.replace("| 1.2 |", "| 9.9 |").replace("0.307", "0.407")
    found = compare(tables(PAGE)[0], made(now))
    assert found is not None
    assert found.numbers == 5
    assert found.differences == ("162 + 162, l=1 (%): the page has 0.307, now 0.407",)
    assert found.missing == ()


def test_a_row_that_was_not_made_is_named():
    found = compare(tables(PAGE)[0], made(PAGE.replace("| 42 + 42 |", "| 40 + 42 |")))
    assert found is not None
    assert found.missing == ("42 + 42",)


def test_another_table_is_not_taken_for_it():
    assert compare(tables(PAGE)[0], made("| study | orders |\n|---|---|\n| a | 2 |\n")) is None


def test_the_report_counts(tmp_path):
    docs, out = tmp_path / "docs", tmp_path / "out"
    docs.mkdir()
    out.mkdir()
    (docs / "page.md").write_text(PAGE + "\n| other | x |\n|---|---|\n| a | 1 |\n")
    (out / "bench.md").write_text(PAGE.replace("2.08", "2.5"))
    text, wrong = report(docs, out, ("page.md",))
    assert wrong == 1
    assert "DIFFERS: page.md, line 3" in text
    assert "not covered: page.md, line 8" in text


@pytest.mark.parametrize(
    ("page", "first", "columns"),
    [
        ("verification.md", "nodes", ("l=1 (%)", "l=1 order")),
        ("verification.md", "layers", ("nodes", "l=3 (%)")),
        ("verification.md", "vm on", ("nodes", "l=3 (%)")),
        ("verification.md", "method", ("lcurve", "oracle")),
        ("verification-simulation.md", "dx (mm)", ("scheme, dtype", "P8")),
        ("verification-eikonal.md", "study", ("mean error (ms)", "its orders")),
    ],
)
def test_the_pages_have_the_columns_that_benchmarks_print(page, first, columns):
    found = [t for t in tables((ROOT / "docs" / page).read_text(encoding="utf-8")) if t.columns[0] == first]
    assert any(set(columns) <= set(table.columns) for table in found)


def test_of_tables_with_the_same_rows_the_likest_is_taken():
    other = PAGE.replace("0.307", "0.407").replace("2.08", "3.08")
    found = compare(tables(PAGE)[0], {"both": [*tables(other), *tables(PAGE)]})
    assert found is not None
    assert found.differences == ()
