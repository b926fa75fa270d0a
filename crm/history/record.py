"""What commands write into the history: who did what, why, and how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence

from hafailover.agents import inbox, journal
from hafailover.crm.errors import HafailoverError
from hafailover.crm.secret_names import has_password, masked, names_secret

AUDIT = "audit"
_MASK = "***"
_INTERRUPTED = 130


def record(kind: str, **facts: object) -> bool:
    """Hand in one record of ``kind`` (commands have only "audit"). Never raises, and waits for nobody; whether it was taken.

    It is not taken where no history is kept (``hafailover install`` makes the inbox), nor from anybody but root.
    """
    try:
        return inbox.put({"kind": kind, **{name: str(value) for name, value in facts.items()}})
    except Exception:  # a command that saves the day must not fail because of its protocol
        return False


_concluded: list[str] = []


def conclude(says: str) -> None:
    """How the command that runs has ended, in a sentence: for one that ends with an exit code and no error, and not well."""
    _concluded[:] = [says]


@contextlib.contextmanager
def audit(command: str, argv: Sequence[str], reason: str = "") -> Iterator[None]:
    """Record that ``command`` begins, with who gave it and ``argv`` (without secrets), and how it ended, whatever that was."""
    token = secrets.token_hex(6)
    told = {"what": words(argv), "reason": safe(reason)}
    # Who it was stands first: whatever is too long for a record must not take that with it.
    _protocol(phase="begin", token=token, command=command, **who(), **told)
    code, says = 0, ""
    _concluded.clear()
    try:
        yield
    except HafailoverError as error:
        code, says = error.exit_code, str(error)
        raise
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        says = "".join(_concluded) if code else ""
        raise
    except KeyboardInterrupt:
        code = _INTERRUPTED
        raise
    except BaseException as error:
        # click's own errors say how they end; whatever else comes here is a fault of the program.
        code, says = getattr(error, "exit_code", 1), str(error) or type(error).__name__
        raise
    finally:
        _protocol(phase="end", token=token, command=command, code=code, says=" ".join(safe(says).split()))


def _protocol(**facts: object) -> None:
    if not record(AUDIT, **facts) and os.geteuid() == 0 and os.path.isdir(inbox.DIRECTORY):
        said = f"{facts['command']} ({facts['phase']}) by {who()}"
        journal.send("warning", "hafailover-history", f"not recorded, the inbox is full or takes nothing: {said}")


def who() -> dict[str, str]:
    """Who gave the command, as far as this machine knows: ``user`` (as whom it runs), ``sudo`` (who logged in), ``host``, ``source``."""
    return {
        "user": _name(os.geteuid()),
        "sudo": os.environ.get("SUDO_USER", "") or _login(),
        "host": socket.gethostname(),
        # Where a person came from; whoever can write here can have set it.
        "source": os.environ.get("SSH_CONNECTION", "").partition(" ")[0],
    }


def _login() -> str:
    """Who logged in, by the number that the kernel keeps for the whole session; "" for daemons and where there is none."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            number = int(file.read())
    except (OSError, ValueError):
        return ""
    return "" if number == 0xFFFFFFFF else _name(number)


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def words(argv: Sequence[str]) -> str:
    """A command line as one text, its secrets masked."""
    import shlex

    found: list[str] = []
    hide = False
    for word in argv:
        option, equals, _ = word.partition("=")
        if hide:
            found.append(_MASK)
            hide = False
        elif equals and names_secret(option.lstrip("-")):
            found.append(f"{option}={_MASK}")
        elif equals and not has_password(option):
            value = _inner(option.lstrip("-"), word[len(option) + 1 :])
            found.append(f"{option}={_MASK}" if value == _MASK else shlex.quote(f"{option}={value}"))
        else:
            hide = word.startswith("--") and not equals and names_secret(word[2:])
            shown = safe(word)
            found.append(shown if shown == _MASK else shlex.quote(shown))
    return " ".join(found)


def safe(text: str) -> str:
    """``text`` without the secrets in it: addresses with a password, settings such as password=…."""
    return _inner("", text)


def _inner(name: str, text: str) -> str:
    plain = re.sub(r"\S+", lambda found: _MASK if has_password(found[0]) else found[0], text)
    return masked(name, plain, _MASK)
