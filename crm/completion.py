"""What the shell offers when somebody presses Tab: names of nodes, resources and services, and everything else that has a name.

Each function here is for click's ``shell_complete=``. It says what could stand there and begins with what was typed; it never fails, asks
nobody, and takes no longer than people wait for a Tab: what cannot be had by then is not offered. Modules are imported where they are
needed, for all commands load this one.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, TypeVar, Union

import click
from hafailover.crm.cli import VARIABLE

if TYPE_CHECKING:
    from types import FrameType

    from click.shell_completion import CompletionItem

PROGRAM = "hafailover"
SHELLS = ("bash", "zsh", "fish")
PATIENCE = 1.0  # seconds for the cluster
_AT_MOST = 10.0  # seconds for everything: a file may be on a server that does not answer

_TOPOLOGY = Path("/etc/hafailover/topology.yml")
_TOPOLOGY_BYTES = 1_000_000
_GIVEN = ("topology_file", "source", "saved", "file")
"""Parameters that name the file which the rest of the line is about."""
_ENDINGS = (".yml", ".yaml", ".xml")
_MOST_CHANGES = 40
# What a shell would take for something else, and what would not come through to it, is nobody's name.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=~-]{0,127}")

Found = Iterable[Union[str, tuple[str, str]]]
"""Names, each alone or with a few words about it, which zsh and fish show."""
_Command = TypeVar("_Command", bound="Callable[..., object]")
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def script(shell: str, cli: click.Command) -> str:
    """The text that teaches ``shell`` to complete the program."""
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    # Not the class's own source(): for bash that starts a bash to see its version, on the machine where it is only written to a file.
    made = found(cli, {}, PROGRAM, VARIABLE)
    text = ShellComplete.source(made)
    if shell == "zsh" and "loadautofunc" not in text:
        # From a file in fpath zsh loads it at the first Tab; click before 8.1.4 only registered itself then, and nothing was completed.
        text = f'{text.rstrip()}\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    {made.func_name} "$@"\nfi\n'
    return text


def answer(cli: click.Command) -> None:
    """Tell the shell what VARIABLE asks for. Whatever goes wrong is nothing that a line that is being typed should show."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    with contextlib.suppress(Exception), open(os.devnull, "w", encoding="utf-8") as nowhere:
        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, _AT_MOST)
        try:
            with contextlib.redirect_stderr(nowhere):
                _answer(cli, *os.environ[VARIABLE].partition("_")[::2])
        finally:
            # Nobody would catch what it raises later.
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.flush()


def _answer(cli: click.Command, shell: str, asked: str) -> None:
    from click.shell_completion import get_completion_class

    if asked == "source":
        click.echo(script(shell, cli), nl=False)
        return
    found = get_completion_class(shell)
    assert found is not None and asked == "complete"
    answers = found(cli, {}, PROGRAM, VARIABLE)
    args, typed = answers.get_completion_args()
    before = ""
    if shell == "bash":
        args, typed = _whole(args, typed)
    elif typed.startswith("--") and "=" in typed:
        # It is one word to this shell, which looks for what begins with all of it, or puts the answer in the place of all of it.
        before = typed[: typed.index("=") + 1]
    for one in answers.get_completions(args, typed):
        if one.type == "plain":
            one.value = before + one.value
        click.echo(answers.format_completion(one))


def _whole(args: list[str], typed: str) -> tuple[list[str], str]:
    """The words as they were typed: bash makes three of ``--node=db1``, and of ``04:00``, and completes the last alone."""
    words: list[str] = []
    for word in [*args, typed]:
        if words and ((word and not word.strip("=:")) or words[-1].endswith(("=", ":"))):
            words[-1] += word
        else:
            words.append(word)
    return words[:-1], words[-1]


def offered(find: Callable[[click.Context], Found]) -> Complete:
    """``find``, made fit for click: only names that begin as typed, each once, none that was given already, and no errors."""

    @functools.wraps(find)
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found: dict[str, str] = {}
        with contextlib.suppress(Exception):
            for one in find(ctx):
                name, about = (one, "") if isinstance(one, str) else one
                found.setdefault(name, about)
        given = ctx.params.get(param.name or "") if param.nargs == -1 or getattr(param, "multiple", False) else None
        taken = set(given or ())
        return [
            CompletionItem(name, help=_clean(about) or None)
            for name, about in found.items()
            if name.startswith(incomplete) and name not in taken and _NAME.fullmatch(name)
        ]

    return complete


def _clean(about: str) -> str:
    return " ".join(about.split())[:60]


@dataclass(frozen=True)
class Facts:
    """Names in the cluster that the line is about: ``services`` are its databases, ``resources`` everything that it runs."""

    nodes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


@offered
def nodes(ctx: click.Context) -> Found:
    """Nodes of the cluster."""
    return _facts(ctx).nodes


@offered
def services(ctx: click.Context) -> Found:
    """Database services."""
    return _facts(ctx).services


def service(command: _Command) -> _Command:
    """``--service`` of a command that is about one database, parameter ``service_name``."""
    about = "Which database service, if there are several."
    return click.option("--service", "service_name", metavar="NAME", help=about, shell_complete=services)(command)


@offered
def resources(ctx: click.Context) -> Found:
    """Whatever the cluster runs."""
    return _facts(ctx).resources


@offered
def failing(ctx: click.Context) -> Found:
    """What can be lost: nodes, resources, the quorum device."""
    found = _facts(ctx)
    return [
        *((name, "a node") for name in found.nodes), *((name, "a resource") for name in found.resources), "quorum-device",
    ]  # fmt: skip


def _facts(ctx: click.Context) -> Facts:
    file = _file(ctx)
    return _of_file(file) if file else _live() or _of_file(_TOPOLOGY)


def _file(ctx: click.Context) -> Path | None:
    """The topology or CIB that stands on the line already."""
    from click.shell_completion import split_arg_string  # type: ignore[attr-defined]

    names = [one.name for one in ctx.command.params if one.name in _GIVEN]
    for name in names:
        given = ctx.params.get(name or "")
        if given and Path(given).is_file():
            return Path(given)
    # While the value of an option is being typed, click has read no argument yet.
    words = split_arg_string(os.environ.get("COMP_WORDS", "")) if names else []
    return next((Path(word) for word in words[2:] if word.endswith(_ENDINGS) and Path(word).is_file()), None)


def _of_file(path: Path) -> Facts:
    from hafailover.crm import bounded_file
    from hafailover.crm.formats import xml_input

    raw = bounded_file.content(path, xml_input.MAX_BYTES)
    if xml_input.is_xml(raw):
        return _of_cib(raw.decode(errors="replace"))
    return _of_topology(raw) if len(raw) <= _TOPOLOGY_BYTES else Facts()


def _of_topology(raw: bytes) -> Facts:
    """Without a check: somebody may just be writing it."""
    import yaml

    read = yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - it is the safe one, in C
    running = read.get("services") or {}
    return Facts(
        tuple(map(str, read.get("nodes") or {})),
        tuple(str(name) for name, one in running.items() if isinstance(one, dict) and one.get("type") == "mariadb"),
        (*map(str, running), *map(str, read.get("vips") or {})),
    )


def _live() -> Facts | None:
    """Of the cluster that runs on this node; None where none does, or this user may not ask."""
    from hafailover.crm import local

    if not (local.installed("cibadmin") and local.may_ask_cluster()):
        return None
    said = local.run(["cibadmin", "--query", "--local", "--scope", "configuration"], timeout=PATIENCE)
    return _of_cib(said.out) if said.rc == 0 else None


def _of_cib(text: str) -> Facts:
    from hafailover.crm.formats import xml_input
    from hafailover.crm.status_facts import database_resources

    root = xml_input.parse(text, "the CIB")
    databases = [primitive.get("id", "") for _, primitive in database_resources(root)]
    kinds = ("primitive", "group", "clone", "master", "bundle")
    return Facts(
        tuple(node.get("uname", "") for node in root.iterfind(".//nodes/node")),
        tuple(databases),
        tuple(one.get("id", "") for one in root.iterfind(".//resources//*") if one.tag in kinds),
    )


def topologies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """YAML files, and this node's topology; where nothing of that kind fits, the shell completes files as it does everywhere."""
    from click.shell_completion import CompletionItem

    with contextlib.suppress(OSError):
        begun = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
        before = incomplete[: incomplete.rfind("/") + 1]
        names = [before + path.name for path in sorted(begun.iterdir()) if path.suffix in (".yml", ".yaml")]
        names += [str(_TOPOLOGY)] * (_TOPOLOGY.is_file() and str(_TOPOLOGY) not in names)
        fitting = [name for name in names if name.startswith(incomplete)]
        if fitting and all(re.fullmatch(r"[\w./+-]+", name, re.ASCII) for name in fitting):
            return [CompletionItem(name) for name in fitting]
    return [CompletionItem(incomplete, type="file")]


@offered
def changes(_ctx: click.Context) -> Found:
    """The numbers of what undo can take back, the newest first."""
    from hafailover.crm import undo_store

    return [(str(number), time.strftime("%Y-%m-%d %H:%M", time.localtime(when))) for number, when in undo_store.kept()]


@offered
def entries(_ctx: click.Context) -> Found:
    """The newest entries of the history, as far as this node has it."""
    from hafailover.crm.history import DIRECTORY, drain, report
    from hafailover.crm.history import entries as history
    from hafailover.crm.history.store import Store

    found = history.entries(Store(DIRECTORY).everything(drain.limit(DIRECTORY, None)))
    names = report.Names(found)
    for entry in reversed(found[-_MOST_CHANGES:]):
        yield names.entry(entry), f"{entry.kind} {entry.subject} {entry.outcome}"


@offered
def kinds(_ctx: click.Context) -> Found:
    """The kinds of entries of the history."""
    from hafailover.crm.history import entry

    return entry.KINDS


@offered
def scenarios(_ctx: click.Context) -> Found:
    """What this node's cluster can be drilled with."""
    from hafailover.crm.drill import scenario

    return [(name, one.summary) for name in scenario.known() if (one := scenario.load(name)).cluster]


@offered
def lab_drills(_ctx: click.Context) -> Found:
    """What a lab can be drilled with."""
    from hafailover.crm.drill import scenario
    from hafailover.vagrant.drill.command import OTHERS

    return [*((name, scenario.load(name).summary) for name in scenario.known()), *OTHERS]


@offered
def labs(_ctx: click.Context) -> Found:
    """Labs on this machine."""
    from hafailover.vagrant import state

    return state.names()


@offered
def lab_nodes(ctx: click.Context) -> Iterator[str]:
    """The nodes of the lab that is meant; of all where that is not said."""
    from hafailover.vagrant import state

    wanted = ctx.params.get("name")
    for name in state.names():
        found = state.read(name) if wanted in (None, name) else None
        if found is not None:
            yield from (machine.name for machine in found.plan.machines)


@offered
def package_sets(_ctx: click.Context) -> Found:
    """What can be installed on a lab's nodes."""
    from hafailover.vagrant import image

    return image.package_sets()


@offered
def recipients(_ctx: click.Context) -> Found:
    """To whom this node sends alerts."""
    from hafailover.hooks.alerts import config

    return [(name, one.type) for name, one in config.load(config.path()).recipients.items()]


@offered
def rules(_ctx: click.Context) -> Found:
    """The rules of lint, by code; with = after it, for the reason."""
    from hafailover.crm import lint

    return [(f"{rule.code}=", f"{rule.id}: {rule.summary}") for rule in lint.known()]


@offered
def examples(_ctx: click.Context) -> Found:
    """Topologies to begin with."""
    from hafailover.crm import examples as known

    return [(name, known.summary(name)) for name in known.names()]
