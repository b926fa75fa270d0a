"""Lines of a configuration file for a person's eyes: secrets are not shown, that they differ is."""

from __future__ import annotations

import difflib
import re

HIDDEN = "(a secret, not shown)"

_KEY = re.compile(
    r"((?:^|[\s#;\"'])[\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|credential|cookie|private_key|encryption_?key|api_?key)[\w.-]*"
    r"[\"']?[ \t]*[=:][ \t]*)(\S.*)",
    re.IGNORECASE,
)
# Everything up to the last @ of a word belongs to the user: people write passwords with @ and / unescaped.
_USERINFO = re.compile(r"(://)([^\s,\"']*)@")
# Keys that only speak of a secret: how long it is valid, where it lies, whether it is hidden.
_HARMLESS = re.compile(r"(ttl|_path|_file|enable\w*|mask_\w+|timeout)[\"']?[ \t]*[=:]", re.IGNORECASE)


def masked(line: str) -> str:
    """``line`` without passwords: neither those of a key named so, nor those in a URL; also in comments."""
    found = _KEY.search(line)
    if found and not _HARMLESS.search(found[1]):
        line = line[: found.start(2)] + HIDDEN
    return _USERINFO.sub(_hide, line)


def _hide(match: re.Match[str]) -> str:
    user, colon, _ = match[2].partition(":")
    return f"{match[1]}{user}:{HIDDEN}@" if colon else match[0]


def difference(old: bytes, new: bytes, path: str, secret: bool) -> list[str]:
    """A unified difference of the file at ``path``; with its secrets hidden if it may hold ``secret`` ones."""
    lines = difflib.unified_diff(
        old.decode(errors="replace").splitlines(),
        new.decode(errors="replace").splitlines(),
        path if old else "/dev/null",
        path,
        lineterm="",
    )
    shown = list(lines)
    return [*shown[:2], *(line[:1] + masked(line[1:]) for line in shown[2:])] if secret else shown
