"""``hafailover drill``: of the cluster that this node belongs to, or of a lab."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import click
from hafailover.crm import completion, consent, corosync_conf, local, schema, switchover_text
from hafailover.crm.colour import paint
from hafailover.crm.commands import drill_restore
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.drill import document, gameday, possible, publish
from hafailover.crm.drill import scenario as scenarios
from hafailover.crm.drill.document import Scene
from hafailover.crm.drill.gameday import Case, GameDay
from hafailover.crm.drill.interruption import interruptible
from hafailover.crm.drill.scenario import Scenario
from hafailover.crm.errors import DONE, FAILED, REFUSED, HafailoverError, IncompleteError, UsageError
from hafailover.crm.history.audited import audited
from hafailover.crm.history.record import conclude, who
from hafailover.crm.progress import Progress
from hafailover.crm.status_facts import ClusterDown
from hafailover.crm.status_text import wrapped

_LAB = "hafailover.vagrant.drill.command"
_LAB_OPTIONS = ("--lab", "-t", "--topology", "--agents", "--all", "--long", "-n", "--runs")
_CLUSTER_OPTIONS = ("--dry-run", "--service", "--accept", "--defaults-file", "--patience", "--restore")
_LAB_DRILLS = ("random", "controllers", "files", "web", "work")
_INTERVALS = (0.005, 0.5)
_PATIENCE = (60.0, 7200.0)
_INTERRUPTED = 130
_UNBROKEN = "interrupted; nothing is broken"
_RESTORED = "interrupted; what was broken is put right again"
_STILL_LEFT = "interrupted; hafailover drill --restore goes on with what is left"
_ACCEPTABLE = ("quorum", "fencing", "failures", "leftovers", "status", "clocks", "backup")

_EPILOG = """\b
Examples:
  hafailover drill --list
  hafailover drill switchover --dry-run
  hafailover drill kill-primary --report drill.html --report drill.md
  hafailover drill power-off-primary --yes --reason "game day" -o json

\b
Exit code: 0 all that had to hold did (or --dry-run and it would be run);
1 something did not, or nobody could be asked; 2 wrong usage;
3 refused, nothing was broken; 4 something could not be restored, it is
listed; 130 interrupted, and restored.
"""


class _Restored(KeyboardInterrupt):
    """Somebody interrupted the drill, and all is as it was."""


class _Drill(JsonCommand):
    """The drill of this node's cluster; of a lab where there is no cluster, or one is asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if _is_for_lab(args):
            self._refuse_alien(args)
            try:
                command: click.Command = importlib.import_module(_LAB).command
            except ModuleNotFoundError as error:
                refusal = UsageError(
                    f"the lab is not installed here ({error.name}), and this machine is no node of a cluster"
                )
                self.refuse(None, args, refusal)
                raise refusal from None
            # Its --reason, too; it is this command here that is audited.
            return audited("drill", command).make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def _refuse_alien(self, args: list[str]) -> None:
        """An option that only the drill of a cluster has says what somebody means, and this machine is not where it is."""
        if args[:1] and args[0] in _LAB_DRILLS:
            return
        alien = [word.partition("=")[0] for word in args if word.partition("=")[0] in _CLUSTER_OPTIONS]
        if alien:
            why = (
                "this machine is no node of one" if not is_node() else "this is one of a lab; --cluster says otherwise"
            )
            refusal = UsageError(f"{alien[0]} is for the drill of a cluster, and {why}")
            self.refuse(None, args, refusal)
            raise refusal

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out what :meth:`make_context` has chosen."""
        return super().invoke(ctx) if ctx.command is self else type(ctx.command).invoke(ctx.command, ctx)


def _is_for_lab(args: Sequence[str]) -> bool:
    if "--cluster" in args:
        return False
    words = [word.partition("=")[0] for word in args]
    asked = bool(words[:1] and words[0] in _LAB_DRILLS) or any(word in _LAB_OPTIONS for word in words)
    return asked or bool(os.environ.get("HAFAILOVER_LAB")) or not is_node()


def is_node() -> bool:
    """Whether this machine is set up as a node of a cluster."""
    return Path(corosync_conf.PATH).exists() and local.installed("crm_mon")


def _interval(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    found = _duration("--interval", value, "50ms")
    if not _INTERVALS[0] <= found <= _INTERVALS[1]:
        raise UsageError("--interval: must be between 5ms and 500ms")
    return found


def _patience(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    found = _duration("--patience", value, "15m")
    if not _PATIENCE[0] <= found <= _PATIENCE[1]:
        raise UsageError("--patience: must be between 1m and 2h")
    return found


def _duration(option: str, value: str, example: str) -> float:
    try:
        return schema.milliseconds(value) / 1000
    except ValueError as error:
        raise UsageError(f"{option}: {error}; write it with its unit, such as {example}") from None


@click.command(cls=_Drill, epilog=_EPILOG)
@click.argument("scenario_name", required=False, metavar="SCENARIO", shell_complete=completion.scenarios)
@click.option("--list", "list_", is_flag=True, help="List the scenarios for this cluster, and what each needs.")
@consent.options()
@click.option(
    "--service",
    metavar="NAME",
    help="Which database service, if there are several.",
    shell_complete=completion.services,
)
@click.option(
    "--interval", default="50ms", show_default=True, metavar="T", callback=_interval, help="Time between two writes."
)
@click.option(
    "--accept", multiple=True, type=click.Choice(_ACCEPTABLE), help="Go ahead although this check refuses (repeatable)."
)
@click.option(
    "--defaults-file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="An administrator's account for the database on other nodes, as the client program mariadb reads it.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    callback=publish.keepable,
    metavar="DIR",
    help="Keep the ledger, a line of JSON per write, in DIR.",
)
@click.option(
    "--patience",
    default="15m",
    show_default=True,
    metavar="T",
    callback=_patience,
    help="How long a node may need until it is a replica in sync again: machines boot slowly.",
)
@click.option("--restore", is_flag=True, help="Take back what a drill that was killed has left broken.")
@click.option("--cluster", is_flag=True, help="This node's cluster, whatever HAFAILOVER_LAB says.")
@publish.options
@output
def command(
    scenario_name: str | None,
    list_: bool,
    dry_run: bool,
    yes: bool,
    service: str | None,
    interval: float,
    accept: tuple[str, ...],
    defaults_file: str | None,
    keep: Path | None,
    patience: float,
    restore: bool,
    cluster: bool,
    reports: Sequence[Path],
    compare: Sequence[dict[str, Any]],
    output: str,
) -> None:
    """Break this node's cluster on purpose, and account for every write.

    A game day: checks whether it is safe to begin, says exactly what will be broken and asks, writes through the address into a schema of
    its own, breaks, measures, puts everything right again, looks for every acknowledged row on every server, and writes a report.

    On a machine that is no node of a cluster this is the drill of a lab, which breaks nothing real; with --lab or a topology also here.
    """
    local.need_root("drill", "it stops and starts what the cluster runs")
    if not (list_ or restore) and scenario_name is None:
        raise UsageError("say which scenario to run; 'hafailover drill --list' shows them")
    if not list_:
        consent.need_somebody(yes, dry_run)
    say = Progress()
    try:
        # From here on: the option files with passwords go away as well.
        with interruptible(), contextlib.ExitStack() as stack:
            if restore:
                drill_restore.restore(service, defaults_file, patience, yes, dry_run, output, say)
                return
            day = stack.enter_context(gameday.opened(service, defaults_file, patience))
            if list_:
                _list(day, output)
            else:
                wanted = _scenario(str(scenario_name))
                _drill(day, wanted, dry_run, yes, frozenset(accept), interval, keep, reports, compare, output, say)
    except KeyboardInterrupt as error:
        says = _RESTORED if isinstance(error, _Restored) else _STILL_LEFT if restore else _UNBROKEN
        click.echo(f"hafailover: {says}", err=True)
        if output == "json":
            give({"schema": document.SCHEMA, "result": "interrupted", "says": says, "exit_code": _INTERRUPTED})
        sys.exit(_INTERRUPTED)
    except ClusterDown as error:
        raise HafailoverError(f"{error}: run it on another node of the cluster, or with --lab NAME for a lab") from None


def _scenario(name: str) -> Scenario:
    found = scenarios.load(name)
    if not found.cluster:
        known = ", ".join(one for one in scenarios.known() if scenarios.load(one).cluster)
        raise UsageError(f"{name} is for labs only; for a real cluster there are: {known}")
    return found


def _list(day: GameDay, output: str) -> None:
    case = day.look()
    if output == "json":
        known = [one for one in map(scenarios.load, scenarios.known()) if one.cluster]
        give([{"scenario": one.name, "summary": one.summary, "not_from_here": _against(one, case)} for one in known])
        return
    shown = paint()
    for name in scenarios.known():
        found = scenarios.load(name)
        if not found.cluster:
            continue
        for number, line in enumerate(wrapped(found.summary, f"{name:<18}  ", " " * 20)):
            click.echo(line.replace(name, shown(name, "bold"), 1) if number == 0 else line)
        for why in _against(found, case):
            for line in wrapped(why, " " * 20 + "not from here: ", " " * 22):
                click.echo(line)


def _against(scenario: Scenario, case: Case) -> list[str]:
    """Why it cannot be run from here, or now."""
    return list(possible.against(scenario, case.roles, case.means)) if case.roles else ["there is no primary now"]


def _drill(
    day: GameDay,
    scenario: Scenario,
    dry_run: bool,
    yes: bool,
    accepted: frozenset[str],
    interval: float,
    keep: Path | None,
    reports: Sequence[Path],
    compare: Sequence[dict[str, Any]],
    output: str,
    say: Progress,
) -> None:
    case = day.examine(scenario, accepted, say)
    _announce(scenario, case, interval, dry_run)
    if output == "json" and (dry_run or any(check.refuses for check in case.checks)):
        give(_as_json(scenario, case))
    gameday.refuse(case.checks)
    if dry_run:
        click.echo("\nNothing was broken (--dry-run).", err=True)
        sys.exit(DONE)
    if not yes:
        if not click.confirm(f"\nBreak {case.place.name} now?", err=True):
            _leave("Nothing was broken.", scenario, case, output)
        again = day.examine(scenario, accepted, say)
        if again.roles != case.roles:
            _leave("Meanwhile the roles have changed; nothing was broken.", scenario, again, output)
        gameday.refuse(again.checks)
        case = again
    began = time.time()
    evidence = keep or Path(tempfile.mkdtemp(prefix="hafailover-drill-"))
    evidence.mkdir(parents=True, exist_ok=True)
    with say.until_end():
        say.now(f"drill {scenario.name}", log=False)
        try:
            run, left = day.run(scenario, case, evidence, say, interval)
        except BaseException as error:
            _keep(evidence, keep, say)
            if isinstance(error, KeyboardInterrupt):
                raise _Restored from None
            raise
    run = replace(run, problems=[*run.problems, *(f"not restored: {what}" for what in left)])
    _keep(evidence, keep, say, wanted=keep is not None or not run.ok)
    person = who()
    scene = Scene(
        kind="cluster",
        name=case.place.name,
        began=began,
        client=f"{case.place.here}, a node of the cluster",
        environment=gameday.environment(case, interval),
        checks=[(check.name, check.ok, check.says) for check in case.checks],
        topology={"service": case.service.name, "nodes": sorted(case.service.nodes)},
        who=person["sudo"] or person["user"],
        reason=str(click.get_current_context().meta.get("hafailover.reason") or ""),
    )
    unwritten = ""
    try:
        with local.without_interrupts():  # nobody would hear what could not be restored
            publish.publish([run], scene, reports, compare, output)
    except HafailoverError as error:  # what is still broken is worse news
        unwritten = str(error)
    for line in document.make([run], scene)["runs"][0]["next"]:
        for text in wrapped(line, "- ", "  "):
            click.echo(text, err=True)
    if left:
        raise IncompleteError(
            f"not restored: {'; '.join(left)}. {gameday.AGAIN}{f'; {unwritten}' if unwritten else ''}"
        )
    if unwritten:
        raise HafailoverError(unwritten)
    if not run.ok:
        conclude("; ".join(run.problems))
        sys.exit(FAILED)


def _keep(evidence: Path, keep: Path | None, say: Progress, wanted: bool = True) -> None:
    """Say where the ledger is, or take it away; a directory into which nothing was written is none."""
    if wanted and any(evidence.iterdir()):
        say(f"the ledger is kept in {evidence}")
    elif keep is None:
        shutil.rmtree(evidence, ignore_errors=True)


def _leave(says: str, scenario: Scenario, case: Case, output: str) -> NoReturn:
    click.echo(says, err=True)
    if output == "json":
        give({**_as_json(scenario, case, refused=True), "says": says})
    conclude(says)
    sys.exit(REFUSED)


def _announce(scenario: Scenario, case: Case, interval: float, dry_run: bool) -> None:
    """On standard error: the checklist, what will be broken, and what takes it back."""
    will = "would" if dry_run else "will"
    click.echo(f"Drill {scenario.name} on {case.place.name}, from {case.place.here}\n", err=True)
    for line in switchover_text.checklist(case.checks, paint(err=True)):
        click.echo(line, err=True)
    if not case.roles:
        return
    lists = (
        (f"What {will} be broken", possible.breaks(scenario, case.roles)),
        (f"What {will} happen else", _around(scenario, case, interval)),
        (f"What {will} take it back, whatever happens", possible.restores(scenario, case.roles) or ["nothing has to"]),
    )
    for title, sentences in lists:
        click.echo(f"\n{title}", err=True)
        for number, sentence in enumerate(sentences, 1):
            for line in wrapped(sentence, f"  {number}. ", " " * 5):
                click.echo(line, err=True)


def _as_json(scenario: Scenario, case: Case, refused: bool = False) -> dict[str, Any]:
    """What is announced, for programs; nothing was run then."""
    return {
        "schema": document.SCHEMA,
        "place": {"kind": "cluster", "name": case.place.name},
        "scenario": scenario.name,
        "refused": refused or any(check.refuses for check in case.checks),
        "checks": [asdict(check) for check in case.checks],
        "breaks": possible.breaks(scenario, case.roles),
        "restores": possible.restores(scenario, case.roles),
        "runs": [],
    }


def _around(scenario: Scenario, case: Case, interval: float) -> list[str]:
    found = [
        f"a client here writes a row every {interval * 1000:g} ms through {case.target.ip} into a schema of its own, hafailover_drill, "
        "which is made before and dropped afterwards; nothing else is read or written",
    ]
    if possible.moves(scenario):
        found.append(f"{case.roles['replica']} becomes the primary and stays it; all clients lose their connections")
    found.append(scenario.outcome)
    return found
