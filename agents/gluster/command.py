"""The command line of GlusterFS: bounded, never asking back, and patient while another node's command holds the pool's lock."""

from __future__ import annotations

import time

from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = ("gluster", "--mode=script")
_AGAIN = 1.0
# What it says while another command of the pool is under way, or a node has just left or come.
_BUSY = (
    "another transaction",
    "locking failed",
    "please try again",
    "request timed out",
    "is in progress",
    "connection failed",  # of the daemon, which is just being restarted
    "'peer in cluster' state",  # one node is known to another a moment later than to a third
)


def said(out: str, err: str) -> str:
    """What a command printed, as one line."""
    return " ".join((err or out).split()) or "it said nothing"


def ask(ctx: Context, words: Sequence[str], seconds: float = 60.0, tolerated: str = "") -> str:
    """The output of ``gluster WORDS``. OcfError with what it said, unless that has ``tolerated`` in it."""
    end = time.monotonic() + seconds
    while True:
        answer = ctx.run([*_PROGRAM, *words], timeout=max(1.0, end - time.monotonic()))
        if answer.rc == 0 and not answer.timed_out:
            return answer.out
        text = said(answer.out, answer.err)
        if tolerated and tolerated in text:
            return answer.out
        busy = any(words in text.lower() for words in _BUSY)
        if answer.timed_out or not busy or time.monotonic() + _AGAIN > end or ctx.deadline.bound(_AGAIN) < _AGAIN:
            text = "it did not end in its time" if answer.timed_out else text
            raise OcfError(ERR_GENERIC, f"gluster {' '.join(words[:3])}: {text}")
        time.sleep(_AGAIN)
