"""The steps that change something inside a node and remember what was there: files, programs, timeouts, a server's own history."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hafailover.crm import schema
from hafailover.crm.drill import database
from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.people import end
from hafailover.crm.drill.stage import Act, Restore, Stage
from hafailover.crm.errors import HafailoverError
from lxml import etree

_TIMEOUT = 30.0
_SLOW_RECOVERY = ["/usr/bin/python3", "-I", str(Path(__file__).resolve().with_name("slow_recovery.py"))]
_HIDDEN = "/var/lib/hafailover-drill-hidden"
_HISTORY = "SELECT @@global.gtid_binlog_state, @@global.server_id"
_ERRANT = f"REPLACE INTO {database.SCHEMA}.{database.NOTES} VALUES (1, 'errant')"  # noqa: S608 (our own constants)
_NO_ERRANT = f"SET sql_log_bin=0; DELETE FROM {database.SCHEMA}.{database.NOTES} WHERE id = 1;"  # noqa: S608 (likewise)
_WRITE = 'mkdir -p "$(dirname "$0")" && cat > "$0"'
_HIDE = """
set -e
for directory in /usr/bin /usr/sbin; do
  mkdir -p "$0$directory"
  for program in "$directory"/$1; do
    if [ -e "$program" ] || [ -L "$program" ]; then mv "$program" "$0$directory/"; fi
  done
done
"""
_SHOW = """
for directory in /usr/bin /usr/sbin; do
  if [ -d "$0$directory" ]; then find "$0$directory" -mindepth 1 -exec mv -t "$directory" {} +; fi
done
rm -rf "$0"
"""


def edit(stage: Stage, step: Step) -> None:
    """Replace what matches in a file; HafailoverError if nothing does."""
    node, file = stage.node(step), step.parameters["file"]
    before = stage.place.exec(node, ["cat", file], _TIMEOUT, check=True).stdout
    after, found = re.subn(step.parameters["pattern"], step.parameters["replacement"], before, flags=re.MULTILINE)
    if not found:
        raise HafailoverError(f"edit: nothing in {file} on {node} matches {step.parameters['pattern']!r}")
    stage.restores.append(Restore(f"the old {file}", node, lambda: _put(stage, node, file, before)))
    _put(stage, node, file, after)


def _put(stage: Stage, node: str, file: str, text: str) -> None:
    # Written in place: owner and mode stay. On standard input, since it may hold a password. To the disk at once, because the node's
    # power may be what is taken next.
    stage.place.exec(node, ["sh", "-c", f'{_WRITE} && sync "$0"', file], _TIMEOUT, input=text, check=True)


def file(stage: Stage, step: Step) -> None:
    """Make a file that was not there."""
    node, name = stage.node(step), step.parameters["file"]
    if stage.place.exec(node, ["test", "-e", name], _TIMEOUT).returncode == 0:
        raise HafailoverError(f"file: {name} is there already on {node}")
    stage.restores.append(
        Restore(name, node, lambda: _remove(stage, node, name)),
    )
    _put(stage, node, name, step.parameters["text"])


def _remove(stage: Stage, node: str, name: str) -> None:
    stage.place.exec(node, ["rm", "-f", name], _TIMEOUT, check=True)


def hide(stage: Stage, step: Step) -> None:
    """Take programs away, and know how to bring them back."""
    node = stage.node(step)
    stage.restores.append(Restore("programs", node, lambda: _show(stage, node)))
    stage.place.exec(node, ["sh", "-c", _HIDE, _HIDDEN, step.parameters["programs"]], _TIMEOUT, check=True)


def _show(stage: Stage, node: str) -> None:
    stage.place.exec(node, ["sh", "-c", _SHOW, _HIDDEN], _TIMEOUT, check=True)


def operation_timeout(stage: Stage, step: Step) -> None:
    """Change how long Pacemaker waits for an action of the database's agent."""
    name = step.parameters["operation"]
    cib = etree.fromstring(database.cib_text(stage.place).encode())
    operation = cib.find(f".//primitive[@id='{stage.target.database}']/operations/op[@name='{name}']")
    if operation is None:
        raise HafailoverError(f"operation-timeout: {stage.target.database} has no operation {name}")
    identity, before = str(operation.get("id")), str(operation.get("timeout"))
    stage.restores.append(Restore(f"the timeout of {name}", "", lambda: _set_timeout(stage, identity, before)))
    _set_timeout(stage, identity, schema.seconds(step.parameters["timeout"]))


def _set_timeout(stage: Stage, identity: str, timeout: str) -> None:
    change = f'<op id="{identity}" timeout="{timeout}"/>'
    database.ask_any(stage.place, ["cibadmin", "--modify", "--scope", "resources", "--xml-text", change])


def slow_recovery(stage: Stage, step: Step) -> None:
    """Watch for the next server that starts in a node, and hold it up once it has opened its redo log."""
    node = stage.node(step)
    argv = [*_SLOW_RECOVERY, stage.target.datadir, f"{step.seconds('for'):g}"]
    process: subprocess.Popen[str] = stage.place.popen(
        node, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    stage.restores.append(Restore("a slow recovery", "", lambda: _go_on(stage, node, process)))
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.readline().strip() != "armed":
        raise HafailoverError(f"slow-recovery: {node}: {process.stderr.read().strip()[-200:]}")


def _go_on(stage: Stage, node: str, process: subprocess.Popen[str]) -> None:
    # Ended while it holds a server up, it would leave it standing still for ever.
    end(process)
    stage.breakage.resume(node, "server")


def errant_write(stage: Stage, step: Step) -> None:
    """Write one row on a server as root, who may do so in spite of read_only."""
    node = stage.node(step)
    [[state, server_id]] = database.sql(stage.place, node, _HISTORY)
    database.sql(stage.place, node, _ERRANT)
    [[after, _]] = database.sql(stage.place, node, _HISTORY)
    errant = set(_of_server(after, server_id)) - set(_of_server(state, server_id))
    stage.restores.append(Restore("an errant write", node, lambda: _forget_errant(stage, node, state, errant)))


def _of_server(history: str, server_id: str) -> list[str]:
    return [gtid for gtid in history.split(",") if gtid and gtid.split("-")[1] == server_id]


def _forget_errant(stage: Stage, node: str, state: str, errant: set[str]) -> None:
    """Last resort of a scenario in which nobody has repaired the server: make its history what it was, by hand."""
    [[now, server_id]] = database.sql(stage.place, node, _HISTORY)
    if not errant & set(now.split(",")):
        return
    [[applied]] = database.sql(stage.place, node, "SELECT @@global.gtid_slave_pos")
    others = [gtid for gtid in applied.split(",") if gtid and not _of_server(gtid, server_id)]
    history = ",".join([*_of_server(state, server_id), *others])
    database.sql(
        stage.place,
        node,
        f"{_NO_ERRANT} STOP SLAVE; RESET MASTER; SET GLOBAL gtid_binlog_state='{history}'; START SLAVE",
    )


def repair(stage: Stage, step: Step) -> None:
    """Take back now what would be taken back at the end."""
    stage.take_back()


TABLE: Mapping[str, Act] = {
    "edit": edit,
    "file": file,
    "hide": hide,
    "operation-timeout": operation_timeout,
    "slow-recovery": slow_recovery,
    "errant-write": errant_write,
    "repair": repair,
}
