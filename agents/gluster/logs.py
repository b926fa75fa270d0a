"""What GlusterFS's programs write into their logs, which are files of their own: nothing of it comes to the journal."""

from __future__ import annotations

_DIRECTORY = "/var/log/glusterfs"
_BEGINNING = "Started running"
_SHOWN = 200
# What follows from an error that was logged before it.
_CONSEQUENCES = ("Initialization of volume", "initializing translator failed", "init failed")


def of_daemon(result: str) -> str:
    """How glusterd ended by systemd's word ``result``, and its last error since it was started."""
    # Whoever killed it did not do so for what it had logged: that told of options it could not find, a minute before.
    return "signal" if result == "signal" else f"{result}: {last_error(f'{_DIRECTORY}/glusterd.log')}"


def of_brick(path: str) -> str:
    """The last error of the process of a brick since it was started."""
    return last_error(f"{_DIRECTORY}/bricks/{path.strip('/').replace('/', '-')}.log")


def last_error(file: str) -> str:
    """The last error in a log since the program was started, without what only follows from it; or that there is none."""
    try:
        with open(file, errors="replace") as stream:
            text = stream.read()
    except OSError:
        return "it has no log"
    lines = text[max(0, text.rfind(_BEGINNING)) :].splitlines()
    errors = [line for line in lines if " E [" in line or " C [" in line]
    telling = [line for line in errors if not any(words in line for words in _CONSEQUENCES)] or errors
    return " ".join(telling[-1].partition("] ")[2].split())[-_SHOWN:] if telling else "its log has no error"
