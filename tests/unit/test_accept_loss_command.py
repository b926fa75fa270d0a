"""``hafailover promote NODE --accept-data-loss`` as a command: what is said of a decision that stands."""

import json
import signal
from types import SimpleNamespace

import pytest
from hafailover.crm.commands import promote_lossy
from hafailover.crm.errors import IncompleteError
from status_samples import status
from test_switchover_command import call, cluster

assert cluster  # a fixture


@pytest.fixture
def recorded(cluster, monkeypatch):
    """A decision that may be made; ``recorded`` is called while it is written, ``recorded.waits`` while the promotion is awaited."""
    found = status("healthy")
    looked = (found, found.services[0], SimpleNamespace(servers={}), None)
    monkeypatch.setattr(promote_lossy, "_look", lambda node, choose: looked)
    monkeypatch.setattr(promote_lossy, "losses", lambda *of: ())
    monkeypatch.setattr(promote_lossy, "_show", lambda *of: None)
    made = SimpleNamespace(writes=lambda: None, waits=lambda: True, entries=[])

    def record(*of):
        made.writes()
        made.entries.append(of)
        return SimpleNamespace(epoch=7)

    monkeypatch.setattr(promote_lossy, "record", record)
    monkeypatch.setattr(promote_lossy, "await_promotion", lambda *of: made.waits())
    return made


def decide(capsys):
    return call(capsys, "promote", "db1", "--accept-data-loss", "--yes", "-o", "json")


def test_done(recorded, capsys):
    code, out, _ = decide(capsys)
    assert (code, json.loads(out)["result"], len(recorded.entries)) == (0, "done", 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_does_not_wait_is_told_that_the_decision_stands(recorded, capsys, number):
    recorded.waits = lambda: signal.raise_signal(number)
    code, out, _ = decide(capsys)
    told = json.loads(out)
    assert (code, told["exit_code"], told["result"]) == (4, 4, "incomplete")
    assert told["says"].startswith("the decision is recorded, but db1 is not the primary yet")


def test_no_interrupt_comes_between_the_writing_and_its_confirmation(recorded, capsys):
    recorded.writes = lambda: signal.raise_signal(signal.SIGINT)
    assert decide(capsys)[0] == 0
    assert len(recorded.entries) == 1


def test_what_is_not_confirmed_is_incomplete(recorded, capsys):
    def fails():
        raise IncompleteError("the decision was written but not confirmed")

    recorded.writes = fails
    code, out, _ = decide(capsys)
    assert (code, json.loads(out)["result"]) == (4, "incomplete")
