"""The manual pages: one for the program and one for each command, made of what ``--help`` says. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click
from hafailover.crm import errors
from hafailover.crm.cli import COMMANDS, cli
from hafailover.crm.commands.tree import Entry, walk

SECTION = 1
_EXAMPLE = re.compile(r"Examples?(?: \((?P<about>.*)\))?:\s*(?P<rest>.*)", re.DOTALL)
_EXIT = re.compile(r"Exit code:? (?P<rest>.*)", re.DOTALL)
_CODES = (
    (errors.DONE, "It is done, or there was nothing to do."),
    (errors.FAILED, "It failed, or what was looked at is not well."),
    (errors.USAGE, "The command line, a file or a secret is wrong; nothing was tried."),
    (errors.REFUSED, "A check, or the person who was asked, said no; nothing was changed."),
    (errors.INCOMPLETE, "It was begun and is not finished; what is left is told."),
    (errors.CHANGES, "Of hafailover plan: there is something to do."),
    (errors.INTERRUPTED, "It was interrupted, also at a question."),
)
_ENVIRONMENT = (
    ("NO_COLOR", "Set to anything, there is no colour. There is none on a terminal that is dumb and in a file or a pipe either."),
    ("HAFAILOVER_LAB", "Which lab is meant, as with --lab; hafailover drill then means it instead of this node's cluster."),
    ("HAFAILOVER_LAB_DIR", "Where labs are kept, instead of /var/lib/hafailover/labs."),
    ("HAFAILOVER_CACHE_DIR", "Where their images are kept, instead of /var/cache/hafailover."),
)  # fmt: skip
_FILES = (
    ("/etc/hafailover/topology.yml", "The topology of the cluster that this machine is a node of."),
    ("/var/lib/hafailover", "What hafailover keeps on a node: the history, what undo takes back, original files."),
)


class _Text(NamedTuple):
    """What a command says of itself: paragraphs (text, or lines to be kept as they are), examples, exit codes."""

    paragraphs: tuple[str | list[str], ...]
    examples: tuple[tuple[str, list[str]], ...]
    codes: tuple[str, ...]


def pages() -> dict[str, str]:
    """File name → text, of all pages."""
    entries = list(walk())
    found = {f"hafailover.{SECTION}": _program(entries)}
    for name in sorted(COMMANDS):
        found[f"hafailover-{name}.{SECTION}"] = _page([one for one in entries if one.words[0] == name])
    return found


def _program(entries: Sequence[Entry]) -> str:
    said = _read(cli)
    lines = [*_head("hafailover", (said.paragraphs[0] if said.paragraphs else "")), ".SH SYNOPSIS"]
    lines += [r"\fBhafailover\fR \fICOMMAND\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]"]
    lines += [".SH DESCRIPTION", *_paragraphs(said.paragraphs)]
    lines += [".SH COMMANDS"]
    for name, (_, summary) in sorted(COMMANDS.items()):
        lines += [".TP", rf"\fBhafailover\-{_escaped(name)}\fR(1)", _escaped(summary)]
    lines += [
        ".SH OPTIONS",
        *_options(cli, click.Context(cli, info_name="hafailover", help_option_names=["-h", "--help"])),
    ]
    lines += [".SH EXIT STATUS"]
    for code, says in _CODES:
        lines += [".TP", rf"\fB{code}\fR", _escaped(says)]
    for title, rows in (("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES)):
        lines += [f".SH {title}"]
        for name, says in rows:
            lines += [".TP", rf"\fB{_escaped(name)}\fR", _escaped(says)]
    lines += _examples(said)
    return _whole([*lines, ".SH SEE ALSO", *_see(sorted({one.words[0] for one in entries}))])


def _page(entries: Sequence[Entry]) -> str:
    """The page of one command: the first of ``entries``; the others are below it."""
    entry, *others = entries
    said = _read(entry.command)
    lines = [*_head(f"hafailover-{entry.words[0]}", COMMANDS[entry.words[0]][1]), ".SH SYNOPSIS", *_synopsis(entry)]
    below = [one for one in others if not isinstance(one.command, click.Group)]
    for one in below:
        lines += [".br", *_synopsis(one)]
    lines += [".SH DESCRIPTION", *_paragraphs(said.paragraphs)]
    lines += [".SH OPTIONS", *_options(entry.command, entry.context)]
    plain = [one for one in below if not one.of_lab]
    if plain:
        lines += [".SH COMMANDS"]
        for one in plain:
            lines += _below(one)
    of_lab = [one for one in below if one.of_lab]
    if of_lab:
        lines += [".SH ON A LAB"]
        for one in of_lab:
            lines += _below(one)
    if said.codes:
        lines += [".SH EXIT STATUS", *_paragraphs(said.codes)]
    lines += _examples(said)
    see = [
        name
        for name in COMMANDS
        if name != entry.words[0] and f"hafailover {name}" in "\n".join(map(str, said.paragraphs))
    ]
    return _whole([*lines, ".SH SEE ALSO", *_see(["", *sorted(see)])])


def _below(entry: Entry) -> Iterator[str]:
    """A command of a group, or one for labs, as a part of the page."""
    said = _read(entry.command)
    yield rf".SS hafailover {_escaped(' '.join(entry.words))}"
    yield from _synopsis(entry)
    yield ".PP"
    yield from _paragraphs((*said.paragraphs, *(f"Exit code: {one}" for one in said.codes)))
    yield from _options(entry.command, entry.context)
    for about, example in said.examples:
        yield from _kept(example, about or "Example:")


def _head(name: str, summary: str | list[str]) -> list[str]:
    text = " ".join(summary) if isinstance(summary, list) else summary
    return [
        r".\" Made by hafailover docs from what the commands say of themselves; do not edit.",
        f'.TH {name.upper()} {SECTION} "" hafailover "hafailover manual"',
        ".SH NAME",
        rf"{_escaped(name)} \- {_escaped(text.strip().rstrip('.'))}",
    ]


def _synopsis(entry: Entry) -> list[str]:
    pieces = " ".join(entry.command.collect_usage_pieces(entry.context))
    return [rf"\fBhafailover {_escaped(' '.join(entry.words))}\fR {_escaped(pieces)}".rstrip()]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        names, about = record
        marked = []
        for name in names.split(", "):
            option, space, value = name.partition(" ")
            marked.append(rf"\fB{_escaped(option)}\fR" + (rf" \fI{_escaped(value)}\fR" if space else ""))
        yield ".TP"
        yield ", ".join(marked)
        yield _escaped(" ".join(about.split()))


def _examples(said: _Text) -> Iterator[str]:
    if said.examples:
        yield ".SH EXAMPLES"
    for about, example in said.examples:
        yield from _kept(example, about)


def _see(names: Sequence[str]) -> Iterator[str]:
    found = [f"hafailover-{name}" if name else "hafailover" for name in names]
    for number, name in enumerate(found, 1):
        yield rf".BR {_escaped(name)} ({SECTION}){',' * (number < len(found))}"


def _paragraphs(paragraphs: Sequence[str | list[str]]) -> Iterator[str]:
    for number, one in enumerate(paragraphs):
        if isinstance(one, list):
            yield from _kept(one)
            continue
        if number:
            yield ".PP"
        yield _escaped(" ".join(one.split()))


def _kept(lines: Sequence[str], about: str = "") -> Iterator[str]:
    """Lines that stay as they are."""
    yield ".PP"
    if about:
        yield _escaped(about)
    yield from (".RS 4", ".nf", *(_escaped(line) or ".sp" for line in lines), ".fi", ".RE")


def _read(command: click.Command) -> _Text:
    paragraphs: list[str | list[str]] = []
    examples: list[tuple[str, list[str]]] = []
    codes: list[str] = []
    for part in (command.help or "", command.epilog or ""):
        for block in re.split(r"\n[ \t]*\n", inspect.cleandoc(part)):
            kept = block.lstrip().startswith("\b")
            text = block.lstrip().removeprefix("\b").strip("\n")
            example, ends = _EXAMPLE.match(text), _EXIT.match(text)
            if example:
                about = example["about"] or ""
                examples.append((f"{about[:1].upper()}{about[1:]}:" if about else "", _dedented(example["rest"])))
            elif ends:
                codes.append(" ".join(ends["rest"].split()))
            elif kept:
                paragraphs.append(_dedented(text))
            elif text.strip():
                paragraphs.append(text)
    return _Text(tuple(paragraphs), tuple(examples), tuple(codes))


def _dedented(text: str) -> list[str]:
    lines = text.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    return [lines[0].strip(), *(line[indent:].rstrip() for line in lines[1:])] if lines else []


def _escaped(text: str) -> str:
    """``text`` as roff prints it: a hyphen that can be copied into a shell, no escape, no request at a line's beginning."""
    written = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    )
    written = written.replace("~", "\\(ti")
    return f"\\&{written}" if written.startswith((".", "\\(aq")) else written


def _whole(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
