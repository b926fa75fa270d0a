"""What the facts about a cache mean: pure functions, each giving its reason or None."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from hafailover.agents.units import State

SILENT = (
    2  # monitors in a row without an answer: one may fall into a moment of overload, and a restart empties the cache
)


def hung(silent: int) -> str | None:
    """Why a cache whose process lives is restarted; ``silent`` is for how many monitors in a row it has not answered."""
    return f"it has not answered in {silent} monitors" if silent >= SILENT else None


def foreign(pid: int, answered: int) -> str | None:
    """Why an answer is not that of the cluster's own process ``pid``: another process, ``answered``, gave it."""
    return f"process {answered} answers, which is not the cluster's memcached ({pid})" if pid != answered else None


def gone(now: State) -> str | None:
    """What has become of the process of a unit that systemd sees so; None while it runs."""
    if now.load != "loaded":
        return f"its unit is {'masked' if now.load == 'masked' else 'not installed'}"
    if now.dead:
        return f"it has ended ({now.result})"
    return None


def failed_start(now: State, first: int) -> str | None:
    """Why a start will not succeed: the process ``first`` (0: none was seen yet) has ended, though systemd may try again."""
    if now.dead:
        return f"it ended ({now.result})"
    if now.sub == "auto-restart" or (first and now.pid not in (0, first)):
        return "it ended as soon as it was started"
    return None


def remedy(last_words: str) -> str:
    """What to do about the last that a cache said before it ended, as the end of a sentence; empty where that says it all."""
    if "rlimit" in last_words:
        return " (raise LimitNOFILE of its unit above -c, or lower -c)"
    return ""


def unreachable(address: str, listens: str) -> str:
    """What is wrong with a cache that answers this machine alone; ``listens`` is what it says of where it listens."""
    return (
        f"it listens on {listens or 'other addresses'} and not on {address}, which clients use: "
        "hafailover render --install writes -l into its configuration"
    )


def misconfigured(settings: Mapping[str, str], files: int) -> str | None:
    """What is dangerous in the settings that a running cache tells; ``files`` is how many files it may have open, 0: unknown."""
    connections = settings.get("maxconns", "")
    if settings.get("udpport", "0") != "0":
        return (
            f"it answers by UDP on port {settings['udpport']}, and anybody who forges a sender's address can flood others "
            "with that: write -U 0 into its configuration"
        )
    if connections.isdecimal() and 0 < files < int(connections):
        return (
            f"it takes {connections} connections and may have {files} files open: raise LimitNOFILE of its unit, "
            "or lower -c in its configuration"
        )
    return None
