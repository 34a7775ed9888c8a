"""Whether tables on the pages of the docs say what benchmarks now print.

A table of a page is compared with the made table that has its columns; rows are found by the first columns that tell
the page's rows apart. A number agrees if it differs by at most one unit of the last digit that the page prints.
"""

import re
from dataclasses import dataclass
from pathlib import Path

#: Columns that are different on every machine.
TIMED = re.compile(r"second|\btime\b|wall|CPU|MiB|\(s\)|\bms per\b|ns per|GB/s", re.IGNORECASE)

#: Below this share of the page's rows two tables are not the same one.
SAME = 0.5

#: Numbers this small are rounding: any other as small agrees.
ROUNDING = 1e-12

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])")


@dataclass(frozen=True)
class Table:
    """Header and rows of a Markdown table, and the line it begins at."""

    line: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """A table of a page beside the made one: how many numbers were compared, and where they differ."""

    table: Table
    made_by: str
    numbers: int
    missing: tuple[str, ...]
    differences: tuple[str, ...]


def tables(text: str) -> list[Table]:
    """All Markdown tables of a text."""
    found: list[Table] = []
    lines = text.splitlines()
    for k, line in enumerate(lines):
        if not (line.startswith("|") and k + 1 < len(lines) and re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", lines[k + 1])):
            continue
        rows = []
        for row in lines[k + 2 :]:
            if not row.startswith("|"):
                break
            rows.append(_cells(row))
        found.append(Table(k + 1, _cells(line), tuple(rows)))
    return found


def _cells(row: str) -> tuple[str, ...]:
    return tuple(re.sub(r"[*`]", "", cell).strip() for cell in row.strip().strip("|").split("|"))


def compare(page: Table, made: dict[str, list[Table]]) -> Comparison | None:
    """The page's table beside the made one of its columns that is most like it; None where there is none."""
    best: Comparison | None = None
    for name, candidates in made.items():
        for candidate in candidates:
            found = _beside(page, candidate, name)
            if found is not None and (best is None or _lacks(found) < _lacks(best)):
                best = found
    return best


def _lacks(found: Comparison) -> tuple[int, int]:
    return len(found.missing), len(found.differences)


def _beside(page: Table, made: Table, name: str) -> Comparison | None:
    shared = [c for c in page.columns if c in made.columns and not TIMED.search(c)]
    keys = _keys(page, shared)
    if keys is None or len(shared) <= len(keys):
        return None
    there = {tuple(row[made.columns.index(c)] for c in keys): row for row in made.rows}
    numbers, missing, differences = 0, [], []
    for row in page.rows:
        key = tuple(row[page.columns.index(c)] for c in keys)
        if key not in there:
            missing.append(" ".join(key))
            continue
        for column in (c for c in shared if c not in keys):
            told, now = row[page.columns.index(column)], there[key][made.columns.index(column)]
            numbers += len(NUMBER.findall(told))
            if not agree(told, now):
                differences.append(f"{' '.join(key)}, {column}: the page has {told}, now {now}")
    if len(missing) > (1 - SAME) * len(page.rows):
        return None
    return Comparison(page, name, numbers, tuple(missing), tuple(differences))


def _keys(page: Table, shared: list[str]) -> list[str] | None:
    """The fewest first columns that tell the rows apart."""
    for n in range(1, min(4, len(shared))):
        keys = shared[:n]
        if keys != list(page.columns[:n]):
            return None
        values = {tuple(row[page.columns.index(c)] for c in keys) for row in page.rows}
        if len(values) == len(page.rows):
            return keys
    return None


def agree(told: str, now: str) -> bool:
    """Whether two cells hold the same numbers, within one unit of the last digit of the first, and the same words."""
    first, second = NUMBER.findall(told), NUMBER.findall(now)
    if NUMBER.sub("#", told) != NUMBER.sub("#", now) or len(first) != len(second):
        return False
    return all(abs(float(a) - float(b)) <= 1.001 * unit(a) for a, b in zip(first, second, strict=True))


def unit(text: str) -> float:
    """One unit of the last printed digit."""
    digits, _, exponent = text.lower().partition("e")
    places = len(digits.partition(".")[2])
    if abs(float(text)) < ROUNDING and float(text) != 0.0:
        return ROUNDING
    return 10.0 ** (int(exponent or 0) - places)


def report(docs: Path, out: Path, pages: tuple[str, ...]) -> tuple[str, int]:
    """Compare all tables of the pages with all made ones under `out`; the text, and how many numbers differ."""
    made = {p.stem: tables(p.read_text(encoding="utf-8")) for p in sorted(out.glob("*.md"))}
    lines, wrong = ["# Pages beside what benchmarks print", ""], 0
    for page in pages:
        for table in tables((docs / page).read_text(encoding="utf-8")):
            title = f"{page}, line {table.line} ({', '.join(table.columns[:3])}, ...)"
            found = compare(table, made)
            if found is None:
                lines.append(f"- not covered: {title}")
                continue
            wrong += len(found.differences) + len(found.missing)
            verdict = "DIFFERS" if found.differences or found.missing else "ok"
            said = f"{found.made_by}, {found.numbers} numbers, {len(found.differences)} differ"
            lines.append(f"- {verdict}: {title}: {said}")
            lines += [f"    - {text}" for text in found.differences]
            lines += [f"    - not made: {row}" for row in found.missing]
    return "\n".join(lines) + "\n", wrong
