"""The errors a person sees: one sentence for the person, one exit code for the script."""

from __future__ import annotations

DONE, FAILED, USAGE, REFUSED, INCOMPLETE = 0, 1, 2, 3, 4
# Of a command that only looks: it would change something.
CHANGES = 5
# As a shell says it of whoever is ended by Ctrl-C.
INTERRUPTED = 130


class HafailoverError(Exception):
    """Something went wrong; the message says what, where and what to do. Exit code 1."""

    exit_code = FAILED


class UsageError(HafailoverError):
    """The input (arguments, topology, secret) is wrong and nothing was tried. Exit code 2."""

    exit_code = USAGE


class RefusedError(HafailoverError):
    """A check said no; nothing was changed. Exit code 3."""

    exit_code = REFUSED


class IncompleteError(HafailoverError):
    """Begun but not finished; the message lists exactly what is left to do. Exit code 4."""

    exit_code = INCOMPLETE
