"""Text that can be pasted: command lines whose words are quoted, whatever the names in them are."""

from __future__ import annotations

import re
import shlex
from xml.sax.saxutils import quoteattr

_ID = re.compile(r"[^\W\d][\w.-]*")


class Placeholder(str):
    """A word that somebody has to put in, ``<NODE>``: it is not quoted, so that a shell refuses the line as long as it stands there."""

    __slots__ = ()

    def __new__(cls, name: str, before: str = "") -> Placeholder:
        """``name`` in angle brackets, with what stands ``before`` it in the same word."""
        return super().__new__(cls, f"{before}<{name}>")


def is_id(text: str) -> bool:
    """Whether it is an id as XML wants it (NCName): no option, no second line."""
    return _ID.fullmatch(text) is not None


def command(*words: str) -> str:
    """One command line; "" when a word has characters that end a line or move a cursor."""
    if not all(word.isprintable() for word in words):
        return ""
    return " ".join(word if isinstance(word, Placeholder) else shlex.quote(word) for word in words)


def configure(*words: str) -> str:
    """A line of ``crm configure``, which takes its words as one text."""
    return command("crm", "configure", *words)


def commands(*lines: str) -> str:
    """Command lines one below the other; "" when one of them is none: half a repair may be worse than the fault."""
    return "\n".join(lines) if all(lines) else ""


def together(*changes: tuple[str, ...]) -> str:
    """Lines for crmsh that are committed at once: nothing is moved by what is true only in between. "" when a word is not plain."""
    lines = [" ".join(words) for words in changes]
    if not all(re.fullmatch(r"[\w.:=-]+( [\w.:=-]+)*", line) for line in lines):
        return ""
    return "\n".join(["crm configure <<'END'", *lines, "commit", "END"])


def modify(tag: str, id: str, **attributes: str) -> str:
    """The command that sets attributes of the element of the CIB with this id; underscores in names stand for hyphens."""
    if not is_id(id):
        return ""
    given = " ".join(f"{name.replace('_', '-')}={quoteattr(value)}" for name, value in attributes.items())
    return command("cibadmin", "--modify", "--xml-text", f"<{tag} id={quoteattr(id)} {given}/>")


def render(file: str) -> str:
    """The command that writes this machine's files as the topology in ``file`` says; "-" and a name that is none are left open."""
    known = file.endswith((".yml", ".yaml", ".json")) and not file.startswith("-")
    return command("hafailover", "render", file if known else Placeholder("TOPOLOGY"), "--install")


def rename(pair: str, name: str) -> str:
    """The command that gives an nvpair another name; "" for a pair without id."""
    return modify("nvpair", pair, name=name) if pair else ""
