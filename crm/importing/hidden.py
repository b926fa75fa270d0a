"""What an import must not print: which values hide a secret, and one filter for all that has been written, however it got there."""

from __future__ import annotations

import re
from typing import Any

from hafailover.crm import secret_names
from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.findings import Note
from hafailover.crm.importing.names import is_text

PLACEHOLDER = "not-shown"
"""What stands in a topology where the source had a secret that has no file of its own."""

_GONE = object()

# A word that speaks of a secret, with what sets it apart from its value.
_WORD = r"(?:pass|pwd|secret|auth|token|cookie|credential|apikey|[_-]key|(?:(?<![a-z])|(?<=-d))key(?!board)|pw(?=[\s=:\"']))"
_SPEAKS = re.compile(rf"(?i){_WORD}[\w.-]*[\"']?\s*[=: ]")
# mysql -pWORD, fence_ipmilan -P WORD, curl -u NAME:WORD.
_SHORT = re.compile(r"(?:^|[\s,;\"'])-(?:[pP]|u[^\s:]*\s*[^\s:]*:)\s*\S")
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^/\s?#]{0,512}@")
# Parameters whose value is a secret in some agents only: hidden unless it is plainly none.
_NAMES = re.compile(r"(?i)(?:^|[_-])(?:auth|pin|credentials?|cookie)(?:[_-](?:name|value|id))?$")
_PLAINLY = re.compile(r"(?i)(?:file:|/|https?://|true$|false$|yes$|no$|on$|off$|none$|md5$|sha\d*$|$)")
# Whole command lines of other programs: whoever wrote them may have given a secret in any form.
_LINES = re.compile(r"(?i)(?:^|[_-])(?:opts|args|arguments|additional_parameters|cmd\w*|extra\w*)$|^cmd_?")
_HARMLESS = re.compile(r"[\w./+-]*\Z")
# In a sentence: what stands behind KEY=, and in front of the @ of a URL.
_SET = re.compile(rf"(?i)([\w.-]*{_WORD}[\w.-]*=)[^\s,;&>\"']+")
_MOUNT = {"secret": "secretfile", "password": "credentials", "pass": "credentials", "passwd": "credentials"}


def safe(parameter: str, value: str) -> bool:
    """Whether a value may be shown: it is no secret, by the parameter's name or its own form."""
    return not secret_names.is_inline(parameter, value) and is_text(value)


def may_show(parameter: str, value: str) -> bool:
    """Whether a value may be shown: nothing in it speaks of a secret, as in --wsrep-sst-auth=USER:WORD, -pWORD or http://USER@HOST.

    Of a parameter that is a whole command line only single words are shown.
    """
    if _NAMES.search(parameter) and not _PLAINLY.match(value):
        return False
    if _LINES.search(parameter) and not _HARMLESS.match(value):
        return False
    return safe(parameter, value) and not (_SPEAKS.search(value) or _SHORT.search(value) or _USERINFO.search(value))


def sentence(text: str) -> str:
    """One of our own sentences, without a secret that a value in it may have brought along."""
    # Most sentences have neither, and the expressions are slow.
    shown = _USERINFO.sub(lambda found: found[0].partition("://")[0] + "://...@", text) if "@" in text else text
    return _SET.sub(r"\1...", shown) if "=" in shown else shown


def hide(draft: Draft) -> None:
    """Put a placeholder, and a note, wherever the draft has what may not be shown; the sentences of notes and comments as well."""
    for section in ("nodes", "vips", "services"):
        entries: dict[str, dict[str, Any]] = getattr(draft, section)
        for name, entry in entries.items():
            entries[name] = _filtered(draft, (section, name), "", entry)
    for key, value in draft.head.items():
        # The cluster's own keys (token) are times; only values there can be secret.
        draft.head[key] = _filtered(draft, (key,), "", value, named=key == "fencing")
    notes = [Note(one.kind, sentence(one.where), sentence(one.text), one.fix) for one in draft.notes.found]
    draft.notes.found = dict.fromkeys(notes)
    draft.comments = {path: [sentence(line) for line in lines] for path, lines in draft.comments.items()}


def _filtered(draft: Draft, path: tuple[str, ...], key: str, value: Any, named: bool = True) -> Any:
    if isinstance(value, dict):
        inner = {name: _filtered(draft, (*path, str(name)), str(name), one, named) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one is not _GONE}
    if isinstance(value, list):
        return [_filtered(draft, path, key, one, named) for one in value]
    if isinstance(value, bool) or value is None or str(value).startswith("file:"):
        return value
    if may_show(key if named else "", str(value)) or not is_text(str(value)):
        return value
    where = ".".join(path)
    shown: Any
    if key == "options" and path[0] == "services":
        shown, text = mount_options(draft, path[1], str(value))
    else:
        # A topology refuses a parameter that is called after a secret, whatever its value.
        shown = _GONE if path[2:4] == ("deep_check", "parameters") else _without(str(value))
        text = "its value in the source may hold a secret, and is not shown: what stands here, if anything, is a placeholder"
    draft.notes.add(findings.SECRET, where, text, "look into the source, and write what belongs there")
    return shown


def _without(value: str) -> str:
    """A URL without user and query; a placeholder for everything else."""
    if not re.match(r"https?://", value):
        return PLACEHOLDER
    scheme, _, rest = value.partition("://")
    host, slash, path = rest.partition("/")
    path = re.split(r"[?#;]", path)[0]
    host = re.split(r"[?#;]", host.rpartition("@")[2])[0]
    shown = f"{scheme}://{host}{slash}{path}"
    return shown if host and may_show("", shown) else PLACEHOLDER


def mount_options(draft: Draft, service: str, value: str) -> tuple[str, str]:
    """Mount options in which files stand for secrets, and the sentence that says which files to make."""
    directory = draft.head.get("cluster", {}).get("secrets_dir", "/etc/hafailover/secrets")
    target, kept = f"{directory}/{service}-mount", []
    for part in value.split(","):
        name = part.partition("=")[0].strip()
        if may_show(name, part.partition("=")[2]) and may_show(
            "", part.replace("secretfile=", "").replace("credentials=/", "/")
        ):
            kept.append(part)
        else:
            kept.append(f"{_MOUNT.get(name, 'credentials')}={target}")
    text = f"a secret is among the mount options, and is not shown: put it into the file {target}, mode 0600"
    return ",".join(dict.fromkeys(kept)), text


__all__ = ["PLACEHOLDER", "hide", "may_show", "mount_options", "safe", "sentence"]
