"""Text from files stays text in every kind of page."""

import json
from importlib import resources

from matplotlib.figure import Figure

from einthoven.report.encoding import script_json
from einthoven.report.plain_page import picture, table, write_plain_page

ATTACK = "</script></style><script>alert(1)</script>'\"><img src=x onerror=alert(2)>"


def test_json_of_a_page_cannot_end_its_element_or_a_line():
    text = script_json({ATTACK: ["\u2028\u2029<!--", ATTACK]})
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {ATTACK: ["\u2028\u2029<!--", ATTACK]}


def test_plain_pages_escape_everything_and_run_nothing(tmp_path):
    told = {"machine": {"processor": ATTACK, "cores": 2, "system": ATTACK}, "versions": {ATTACK: ATTACK}}
    parts = [picture(Figure(), ATTACK), table([{ATTACK: ATTACK}], {ATTACK: (ATTACK, 1)})]
    text = write_plain_page(tmp_path / "a.html", ATTACK, parts, told).read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("<img ") == 1
    assert text.count("alert(1)") == 9
    assert "default-src 'none'" in text.split("<title>")[0]
    assert "script-src" not in text


def test_pages_with_scripts_may_fetch_nothing():
    head = (resources.files("einthoven.report") / "assets" / "head.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in head
    assert "connect-src" not in head
