"""The report of a drill: one document, three forms that say the same, whatever names somebody has chosen."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import replace

import pytest
from drills import broken, made, older, recorded, scene, unreached
from hafailover.crm.drill import document, kept, markdown, page, picture
from hafailover.crm.errors import UsageError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from lxml import etree

HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'; DROP TABLE users; --", "a&amp;b", "](javascript:alert(1))",
    "</style></title>", "| x |\n# heading", "\x1b[31mred\x07", "\u202egnp.exe", "x" * 5000, "{{7*7}}", "]]>", "<!--", "\ud800",
]  # fmt: skip
FIGURE = re.compile(r'<data data-figure="([^"]*)" data-run="(\d+)" value="([^"]*)">')
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        "html head meta title style body main header footer h1 h2 h3 p div span b br a ul ol li dl dt dd small data table"
        " thead tbody tr th td figure figcaption svg defs pattern rect line circle path g text",
    )
)


def with_everywhere(text):
    run = recorded()
    steps = [{**run.steps[0], "says": text, "why": text, "ok": False}]
    story = {key: {**look, "writers": {text: next(iter(look["writers"].values()))}} for key, look in run.story.items()}
    details = {**run.details, "summary": text, "outcome": text, "notes": [text], "probe_acknowledged": {text: 3}}
    return replace(
        run,
        scenario=text,
        agents=text,
        before=text,
        after=text,
        problems=[text],
        details=details,
        steps=steps,
        story=story,
    )


def document_of(text):
    where = scene(
        name=text,
        client=text,
        environment=[(text, text)],
        checks=[(text, True, text), (text, False, text)],
        who=text,
        reason=text,
    )
    return document.make([with_everywhere(text)], where, older([1.0, 2.0], text))


def tags(text):
    parser = etree.HTMLParser(recover=True)
    root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    return [element for element in root.iter() if isinstance(element.tag, str)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.one_of(some.sampled_from(HOSTILE), some.text(max_size=60)))
def test_a_hostile_name_is_text_everywhere(text):
    shown = page.render(document_of(text))
    found = tags(shown)
    assert {element.tag for element in found} <= ALLOWED
    for element in found:
        assert not [
            name for name in element.attrib if name.lower().startswith("on") or name.lower() in ("src", "srcdoc")
        ]
        assert element.get("href", "#").startswith("#")
    assert "\x1b" not in shown and "\u202e" not in shown
    shown.encode("utf-8")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.one_of(some.sampled_from(HOSTILE), some.text(alphabet="<>|#*_`[]()!&\n\\ab", min_size=1, max_size=30)))
def test_in_a_ticket_a_hostile_name_is_text_too(text):
    plain = markdown.render(document_of("db1")).splitlines()
    shown = markdown.render(document_of(text)).splitlines()
    assert len(shown) == len(plain), "no name makes a line of its own"
    for line in shown:
        bare = re.sub(r"\\.", "", line)
        assert "<" not in bare and "](" not in bare and "`" not in bare
        if bare.startswith("|") and not set(bare) <= set("|-"):
            assert bare.count("|") in {one.count("|") for one in plain if one.startswith("|")}


def test_the_page_needs_nothing_from_elsewhere():
    shown = page.render(made(recorded(), earlier=older([6.0, 7.0])))
    assert not re.search(
        r"https?://|<script|<link|<img|@import|url\((?!#)", shown.replace("http://www.w3.org/2000/svg", "")
    )
    assert "default-src 'none'" in shown and "@media print" in shown and "prefers-color-scheme: dark" in shown
    assert len(shown) < 200_000


def figures(made_document):
    return {(name, int(run)): html.unescape(value) for name, run, value in FIGURE.findall(page.render(made_document))}


def expected(run, number):
    names = ("ok", "lost", "acknowledged", "write_gap_s", "first_write_s", "rejoined_s", "extra", "concurrent_writers")
    found = {(name, number): run[name] for name in names}
    phases = run["recovery"] if run["first_write_s"] is not None else []
    found |= {(f"phase.{one['name']}", number): one["at"] for one in phases if one["at"] is not None}
    return found


@pytest.mark.parametrize("runs", [[recorded()], [broken()], [unreached()], [recorded(), broken(), unreached()]])
def test_every_figure_of_the_page_is_that_of_the_json(runs):
    report = json.loads(document.as_text(made(*runs)))
    wanted = {}
    for number, run in enumerate(report["runs"]):
        wanted |= expected(run, number)
    assert figures(made(*runs)) == {
        key: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in wanted.items()
    }


def test_what_the_ticket_says_is_what_the_json_says():
    run = made(recorded())["runs"][0]
    shown = markdown.render(made(recorded()))
    assert f"| acknowledged writes lost | {run['lost']} of {run['acknowledged']} |" in shown
    assert f"| longest silence | {run['write_gap_s']:.2f} s (" in shown
    assert "| fence | the old primary was off |" in shown
    assert "## power-off-primary: held" in shown
    assert "FAILED" in markdown.render(made(broken())) and "**db2 was not fenced**" in markdown.render(made(broken()))


def test_a_run_that_failed_says_why_at_the_top():
    shown = page.render(made(broken()))
    assert shown.index("2 acknowledged rows are missing: 17, 18") < shown.index("longest silence")
    assert '<div class="verdict bad">' in shown


def test_earlier_runs_are_those_of_the_scenario_and_not_too_many():
    earlier = [*older([float(number) for number in range(1, 40)]), *older([3.0], "switchover")]
    found = made(recorded(), earlier=earlier)["earlier"]
    assert [one["write_gap_s"] for one in found] == [float(number) for number in range(20, 40)]
    shown = page.render(made(recorded(), earlier=earlier))
    assert "Compared with earlier runs" in shown and "this run" in shown
    assert "Compared with" not in page.render(made(recorded()))


def test_of_a_run_that_never_began_it_is_not_said_that_somebody_wrote():
    shown = page.render(made(unreached()))
    assert "Nothing was written." in shown and "wrote all the time" not in shown and "db1 →" not in shown
    assert "wrote all the time" in page.render(made(recorded()))


def test_earlier_runs_are_with_the_same_agents_and_counted_once():
    same = older([5.0])
    other = [{**same[0], "runs": [{**same[0]["runs"][0], "agents": "null"}]}]
    found = made(recorded(), earlier=[*same, *other, *older([5.0])])
    assert [one["agents"] for one in found["earlier"]] == ["hafailover"]


def test_drills_of_another_service_or_topology_are_not_compared(directory):
    def placed(**topology):
        return document.make([recorded()], scene(topology=topology))

    kept.keep(placed(service="db", nodes=["db1", "db2"]))
    assert len(kept.earlier(placed(service="db", nodes=["db1", "db2"])["place"])) == 1
    assert kept.earlier(placed(service="other", nodes=["db1", "db2"])["place"]) == []
    assert kept.earlier(placed(service="db", nodes=["db1", "db2", "db3"])["place"]) == []


def test_a_run_that_wrote_nothing_does_not_say_that_nothing_was_lost():
    idle = replace(recorded(), lost=None, acknowledged=None, extra=None, concurrent_writers=None)
    assert "No acknowledged write was lost" not in page.render(made(idle))
    assert "No acknowledged write was lost" in page.render(made(recorded()))


def test_a_later_silence_that_was_longer_stands_beside_the_first():
    late = replace(recorded(), details={**recorded().details, "later_gap_s": 31.25})
    assert 'data-figure="later_gap_s" data-run="0" value="31.25"' in page.render(made(late))
    assert "| longest silence later on | 31.2 s |" in markdown.render(made(late))
    assert "later on" not in page.render(made(recorded())) + markdown.render(made(recorded()))


@settings(max_examples=60, deadline=None)
@given(
    some.floats(-1e4, 1e4),
    some.floats(0.001, 1e4),
    some.lists(some.floats(-1e4, 2e4), max_size=12),
    some.one_of(some.none(), some.floats(0, 1e4)),
)
def test_nothing_is_drawn_outside_of_the_picture(start, length, marks, gap):
    look = {
        "from": start,
        "to": start + length,
        "writers": {"client": [[start - 5, start + length + 5, "acknowledged", 3]]},
    }
    run = {"write_gap_s": gap, "details": {"gap_from_s": start}}
    drawn = picture.writes(look, run, [(str(number), "x", at) for number, at in enumerate(marks)], "x")
    root = etree.fromstring(drawn.encode())
    width, height = (float(part) for part in root.get("viewBox").split()[2:])
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            if element.get(name) is not None and element.tag != "pattern":
                assert -0.01 <= float(element.get(name)) <= width + 0.01
        for name in ("y", "y1", "y2", "cy"):
            if element.get(name) is not None:
                assert -0.01 <= float(element.get(name)) <= height + 0.01
        if element.tag == "rect":
            assert float(element.get("x")) + float(element.get("width")) <= width + 1
            assert math.isfinite(float(element.get("width")))


@settings(max_examples=40, deadline=None)
@given(some.lists(some.floats(0, 1e5), min_size=1, max_size=21))
def test_the_comparison_fits_however_many_and_long_the_runs(gaps):
    drawn = picture.earlier(
        [("2026-01-02 03:04", gap, True, number == len(gaps) - 1) for number, gap in enumerate(gaps)], "x"
    )
    root = etree.fromstring(drawn.encode())
    for element in root.iter("rect"):
        assert 0 <= float(element.get("x")) <= picture.WIDTH - float(element.get("width"))
        assert float(element.get("y")) >= 0 and float(element.get("height")) <= 160


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"runs": 3}', '{"runs": [1]}', "<html>", "[" * 100_000, "x" * (document.LARGEST + 1)],
)
def test_what_is_no_report_is_refused_in_a_sentence(text):
    with pytest.raises(UsageError, match=r"^old.json: "):
        document.read(text, "old.json")


def test_of_a_strange_report_only_what_has_the_right_shape_is_taken():
    found = document.read(
        '{"began": "x", "place": 3, "runs": [{"scenario": "\\u001b[0mx", "write_gap_s": NaN, "lost": true, "ok": 1}]}',
        "x",
    )
    assert found["began"] is None and found["place"] == {}
    assert found["runs"][0] == dict.fromkeys(found["runs"][0]) | {"scenario": "\ufffd[0mx"}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HAFAILOVER_DRILL_DIR", str(tmp_path / "drills"))
    return tmp_path / "drills"


def test_drills_are_kept_for_the_next_one_and_the_oldest_make_room(directory, monkeypatch):
    monkeypatch.setattr(kept, "KEEP", 3)
    for number in range(5):
        kept.keep({**made(recorded()), "began": 1.7e9 + number * 60})
    assert len(list(directory.iterdir())) == 3
    found = kept.earlier({"kind": "cluster", "name": "shop"})
    assert [one["began"] for one in found] == [1.7e9 + number * 60 for number in (2, 3, 4)]
    assert kept.earlier({"kind": "lab", "name": "shop"}) == []
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in directory.iterdir())


def test_a_kept_file_that_is_damaged_is_left_out(directory):
    path = kept.keep(made(recorded()))
    path.write_text(path.read_text()[:100])
    assert kept.earlier({"kind": "cluster", "name": "shop"}) == []


def test_a_name_of_a_scenario_makes_no_path(directory):
    path = kept.keep(made(replace(recorded(), scenario="../../etc/x y")))
    assert path.parent == directory and path.exists()


def test_what_a_killed_drill_leaves_is_known_until_it_is_taken_back(directory):
    from hafailover.crm.drill.actions import Step

    assert kept.unfinished() is None
    kept.begin("stop-primary", [Step("start-cluster", {"node": "primary"})], {"primary": "db1"}, "db", "secret", "db1")
    found = kept.unfinished()
    assert found["password"] == "secret" and found["node"] == "db1"
    assert found["steps"] == [Step("start-cluster", {"node": "primary"})] and found["roles"] == {"primary": "db1"}
    assert (directory / "unfinished.json").stat().st_mode & 0o777 == 0o600
    kept.end()
    assert kept.unfinished() is None
    kept.end()
