"""``hafailover status --watch``: one look that fails, however, is shown, and the next one is taken."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hafailover.crm import status_live
from hafailover.crm.commands import status
from hafailover.crm.errors import HafailoverError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (HafailoverError("crm_mon said nothing"), "crm_mon said nothing"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("not a number"), "of a mistake in hafailover itself (ValueError: not a number)"),
    ],
)
def test_a_look_that_fails_is_followed_by_another_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    looks: list[Exception | None] = [error, None]

    def look() -> status.Shown:
        if not looks:
            raise KeyboardInterrupt
        wrong = looks.pop(0)
        if wrong is not None:
            raise wrong
        return status.Shown("OK\n", {"verdict": "OK"}, True, True)

    monkeypatch.setattr(status, "_look", look)
    monkeypatch.setattr(status_live.time, "sleep", lambda _: None)
    done = CliRunner().invoke(status.command, ["--watch", "-o", "json"])
    told = [json.loads(line) for line in done.output.splitlines()]
    assert [one["verdict"] for one in told] == ["UNKNOWN", "OK"], done.output
    assert says in told[0]["reason"] and told[0]["available"] is False
