"""What the history shows: the list, the timeline, filters, and moments as people write them."""

import json

import pytest
from hafailover.crm.colour import plain
from hafailover.crm.errors import UsageError
from hafailover.crm.history import report
from hafailover.crm.history.report import Names
from history_log import BEGAN, Log, failover, kinds, started


def test_the_list_and_the_timeline():
    found = failover(started().command(300, 302, "apply", "t.yml", reason="a second address")).entries()
    names = Names(found)
    lines = list(report.listed(report.chosen(found, None, None, (), False), names, plain))
    text = "\n".join(lines)
    assert "failover    db2-2" in text and "by:  ann (as root) on db1" in text and "why: a second address" in text
    assert "services" not in text
    (entry,) = names.find("db2-2")
    timeline = "\n".join(report.shown(entry, names, plain))
    assert "+0.00 s  detect" in timeline and "+1.10 s  address" in timeline
    assert names.find("db2~aaaa-2") == [entry] == names.find("db1-6"), "any of its records names an entry"
    told = json.loads(json.dumps(report.as_json([entry], names, "db1", 1.0, {"members": []})))
    assert told["entries"][0]["steps"][0]["after_s"] == 0.0
    assert "src" not in json.dumps(told)


def test_filters():
    found = failover(started()).entries()
    assert kinds(report.chosen(found, BEGAN + 900, None, (), False)) == ["failover"]
    assert kinds(report.chosen(found, None, None, ("promotion",), False)) == ["promotion"]
    assert report.chosen(found, None, "db9", (), True) == []
    assert len(report.chosen(found, None, None, (), True)) == len(found)


@pytest.mark.parametrize(
    ("text", "ago"),
    [("2h", 7200), ("-30min", 1800), ("3 d", 259200), ("90s ago", 90), ("1w", 604800), ("@1767225600", None)],
)
def test_moments(text, ago):
    assert report.moment(text, 2e9) == (BEGAN if ago is None else 2e9 - ago)


def test_days_and_clock_times_are_local():
    now = report.moment("2026-01-31 12:30:00", 2e9)
    assert report.moment("today", now) == report.moment("2026-01-31", now) == now - 45000
    assert report.moment("yesterday", now) == report.moment("2026-01-30T00:00", now)
    assert report.moment("04:00", now) == report.moment("2026-01-31 04:00", now)
    for wrong in ("", "soon", "5x", "2026-13-01", "25:00", "\x1b[2J", "9" * 400):
        with pytest.raises(UsageError, match="is no time"):
            report.moment(wrong, now)


def test_a_time_of_the_day_that_has_not_come_is_yesterdays():
    now = report.moment("2026-01-31 03:00", 2e9)
    assert report.moment("23:00", now) == report.moment("2026-01-30 23:00", now) == now - 4 * 3600
    assert report.moment("03:00", now) == now
    for coming in ("2026-01-31 03:01", "2027-01-01", "@1999999999"):
        with pytest.raises(UsageError, match="is still to come: it is 2026-01-31 03:00 here"):
            report.moment(coming, now)


@pytest.mark.parametrize(
    "text", ["2026-01-01 00:00:00.250 +0000", "2026-01-01T00:00:00.25Z", "2026-01-01 01:00:00.25+01:00"]
)
def test_what_show_prints_can_be_given_back(text):
    assert report.moment(text, 2e9) == BEGAN + 0.25


LONG = "n" * 63


@pytest.mark.parametrize("width", [60, 80, 140])
def test_long_names_are_listed_too(width):
    log = (
        Log()
        .op(0, LONG, "db", "monitor", rc=1, desc="no answer of the server " * 4)
        .node(500, "w" * 900, "lost", "db1")
    )
    found = log.entries()
    names = Names(found)
    failed, lost = ["\n".join(report.listed([entry], names, plain, width)) for entry in found]
    assert f"{LONG}-1" in failed and "no answer" in failed and "left" in lost
    # Only what can be copied as a whole is longer than a line.
    for line in [*failed.splitlines(), *report.shown(found[0], names, plain, width)]:
        assert len(line) <= width or LONG in line, line
    assert "w" * 900 in "\n".join(report.shown(found[1], names, plain, width))


def test_a_command_of_another_version_has_a_kind_that_can_be_listed():
    (entry,) = Log().command(1, 2, "x" * 900).entries()
    assert entry.kind == "command"
    assert len(next(iter(report.listed([entry], Names([entry]), plain, 80)))) <= 80
