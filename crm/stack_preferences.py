"""Preferences that expire: location constraints that bring resources to a node, all of them in one change of the CIB.

They are named and built as ``crm_resource --move --lifetime`` does it, so that ``crm_resource --clear --expired`` removes what a dead
command has left, but with a rule's id of their own, by which the one who made them finds them. An expired one has no effect; and while
this node lives, a small process that outlives the command removes them even then.
"""

from __future__ import annotations

import contextlib
import copy
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hafailover.crm import status_leftovers
from hafailover.crm.errors import HafailoverError
from hafailover.crm.local import environment
from hafailover.crm.stack import Mover
from lxml import etree

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

MARK = status_leftovers.STACK
_PREFIX = "cli-prefer-"
_FORMAT = "%Y-%m-%d %H:%M:%SZ"
_TIMEOUT = 30.0
_DISMISSED = 5.0
_MARGIN = 15.0  # seconds; clocks of nodes differ a little
# Roles were called otherwise before; the newest schema that only knows the old words.
_OLD_WORDS = (3, 6)


class Existing(NamedTuple):
    """A preference that is there already: its ``id`` and resource; ``until``: Unix time of its end, None when it has none; ``ours``: of a
    command like this one, which is dead, for it would hold the cluster's lock."""

    id: str
    resource: str
    until: float | None
    ours: bool = False


def constraints(wanted: Mapping[Mover, str], until: float, token: str, old_words: bool = False) -> Any:
    """The element constraints with a preference of each mover for its node, in force until ``until`` (Unix time)."""
    root = etree.Element("constraints")
    for mover, node in wanted.items():
        name = mover.id
        location = etree.SubElement(root, "rsc_location", id=f"{_PREFIX}{name}", rsc=name)
        rule = etree.SubElement(
            location, "rule", {"id": f"{MARK}{token}-{name}", "score": "INFINITY", "boolean-op": "and"}
        )
        if mover.role:
            rule.set("role", "Master" if old_words else mover.role)
        etree.SubElement(
            rule, "expression", id=f"cli-prefer-expr-{name}", attribute="#uname", operation="eq", value=node
        )
        end = time.strftime(_FORMAT, time.gmtime(until))
        etree.SubElement(rule, "date_expression", id=f"cli-prefer-lifetime-end-{name}", operation="lt", end=end)
    return root


def with_preferences(root: Any, wanted: Mapping[Mover, str], until: float) -> Any:
    """A copy of the element cib ``root`` with them in it, in the place of older ones."""
    new = copy.deepcopy(root)
    section = _section(new)
    made = constraints(wanted, until, "simulated", old_words(root))
    names = {location.get("id") for location in made}
    for location in [one for one in section.iterfind("rsc_location") if one.get("id") in names]:
        section.remove(location)
    for location in list(made):
        section.append(location)
    return new


def without_preferences(root: Any) -> Any:
    """A copy of the element cib ``root`` without any of ours."""
    new = copy.deepcopy(root)
    section = _section(new)
    for location in list(section.iterfind("rsc_location")):
        if any((rule.get("id") or "").startswith(MARK) for rule in location.iterfind("rule")):
            section.remove(location)
    return new


def _section(root: Any) -> Any:
    configuration = root.find("configuration")
    found = configuration.find("constraints")
    return etree.SubElement(configuration, "constraints") if found is None else found


def old_words(root: Any) -> bool:
    """Whether this CIB's schema knows the promoted role only as Master."""
    version = (root.get("validate-with") or "").rpartition("-")[2].split(".")
    return len(version) == 2 and all(one.isdigit() for one in version) and tuple(map(int, version)) <= _OLD_WORDS


def existing(root: Any) -> Iterator[Existing]:
    """Every preference that a move has left in the element cib, also those that have expired."""
    for location in root.iterfind("configuration/constraints/rsc_location"):
        name = location.get("id") or ""
        if name.startswith(_PREFIX):
            dates = [one.get("end") for one in location.iter("date_expression") if one.get("operation") == "lt"]
            ours = any((rule.get("id") or "").startswith(MARK) for rule in location.iterfind("rule"))
            yield Existing(name, location.get("rsc") or "", _moment(dates[0]) if dates else None, ours)


def _moment(text: str | None) -> float | None:
    from hafailover.crm.status_failures import moment

    return moment((text or "").replace("Z", " +00:00"))


class Preferences:
    """The preferences of one command in the cluster. ``lifetime``: seconds for which each of them is in force."""

    def __init__(self, run: Run, lifetime: float, old_words: bool) -> None:
        self._run, self._lifetime, self._old_words = run, lifetime, old_words
        self._token = secrets.token_hex(4)
        self._undertaker: subprocess.Popen[bytes] | None = None
        self.made = False

    def make(self, wanted: Mapping[Mover, str], old: tuple[str, ...] = ()) -> None:
        """Prefer these nodes from now on, in one change; ``old`` are ids of constraints in whose place ours come."""
        if old:
            self._delete(" or ".join(f"@id='{one}'" for one in old))
        until = time.time() + self._lifetime
        text = etree.tostring(constraints(wanted, until, self._token, self._old_words), encoding="unicode")
        self._watch()
        self.made = True  # also when the answer is lost
        self._cibadmin(["--modify", "--allow-create", "--scope", "constraints", "--xml-pipe"], text)

    def remove(self) -> None:
        """Take all of them back; HafailoverError when the cluster does not do it."""
        if self.made:
            self._delete(self._ours())
            self.made = False
        self._dismiss()

    def _ours(self) -> str:
        return f"rule[starts-with(@id,'{MARK}{self._token}-')]"

    def _delete(self, which: str) -> None:
        self._cibadmin(["--delete-all", "--force", "--xpath", f"//constraints/rsc_location[{which}]"])

    def _cibadmin(self, options: list[str], text: str | None = None) -> None:
        result = self._run(["cibadmin", *options], timeout=_TIMEOUT, input=text)
        if result.rc:
            said = (result.err or result.out).strip().splitlines()
            raise HafailoverError(f"the cluster does not take the change: {said[-1] if said else result.rc}")

    def _watch(self) -> None:
        """Have somebody remove what is left after the command was killed; it learns of that from the end of its input."""
        self._dismiss()
        wait = self._lifetime + _MARGIN
        script = 'read word || { sleep "$1"; exec cibadmin --delete-all --force --xpath "$2"; }'
        argv = ["sh", "-c", script, "hafailover-stack", f"{wait:.0f}", f"//constraints/rsc_location[{self._ours()}]"]
        try:
            self._undertaker = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env=environment(),
            )
        except OSError:
            self._undertaker = None  # what is left expires, and status tells of it

    def _dismiss(self) -> None:
        if self._undertaker is None or self._undertaker.stdin is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._undertaker.stdin.write(b"done\n")
            self._undertaker.stdin.close()
            self._undertaker.wait(_DISMISSED)
        self._undertaker = None
