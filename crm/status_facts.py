"""Ask this node's cluster everything the status needs, with as few programs as possible and all at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Callable, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.agents import restated
from hafailover.agents.context import DEGRADED, DEGRADED_PROMOTED
from hafailover.agents.mariadb import told
from hafailover.crm import corosync_glance
from hafailover.crm.errors import HafailoverError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status_xml import parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

PUBLISHED = ("incarnation", "reign", told.ATTRIBUTE)
"""What the database agent publishes of each node that the status reads."""
DEGRADED_CODES = (str(DEGRADED), str(DEGRADED_PROMOTED))
"""The results of a monitor whose reason may have changed since Pacemaker recorded it (hafailover.agents.restated)."""

ANSWER = 15.0
"""Seconds for each program where its answer decides something: a machine that stands still for a while is not one without Pacemaker."""
GLANCE = 5.0
"""Seconds for each program where somebody waits for the screen, or looks again at once."""

# CRM_EX_DISCONNECT, CRM_EX_NOT_CONNECTED of other versions, ENOTCONN as cibadmin may return it
_NOT_CONNECTED = (102, 110, 64)
_IDLE_WITHIN = 10.0  # seconds
_LOOK_AGAIN = 0.5
_PATIENCE = 2.0  # seconds for what may be missing: a coordinator that has just died never answers
_KILLED = 124  # what local.run makes of a program that did not answer in time


class ClusterDown(HafailoverError):
    """Pacemaker does not run, or does not answer, on this node."""


class Facts(NamedTuple):
    """What the tools printed.

    published: attribute name → node → value. coordinator_state: ``S_IDLE`` …, or "" if unknown. unanswered: what could not be asked.
    silent: whose answer did not come in time, and what is therefore not known; that alone is no fault.
    """

    mon: str
    cib: str
    published: Mapping[str, Mapping[str, str]]
    coordinator_state: str
    quorumtool: str
    corosync_conf: str
    here: str
    at: float
    unanswered: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    links: str = ""


def database_resources(cib: Element) -> list[tuple[Element, Element]]:
    """The clones of ``ocf:hafailover:mariadb``: (clone, primitive) elements."""
    found = []
    for clone in [*cib.iter("clone"), *cib.iter("master")]:
        primitive = clone.find("primitive")
        if primitive is not None and (primitive.get("provider"), primitive.get("type")) == ("hafailover", "mariadb"):
            found.append((clone, primitive))
    return found


def coordinator(cib: Element) -> str:
    """Name of the DC, or "" while one is being elected."""
    wanted = cib.get("dc-uuid")
    nodes = cib.iterfind("configuration/nodes/node")
    return next((node.get("uname", "") for node in nodes if node.get("id") == wanted), "")


class _Together:
    """Calls that run at the same time; the error of the one that was begun first is raised when their results are fetched."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: dict[int, Exception] = {}

    def start(self, call: Callable[[], None]) -> threading.Thread:
        place = len(self._threads)

        def guarded() -> None:
            try:
                call()
            except (HafailoverError, OSError) as error:
                self._errors[place] = error

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[min(self._errors)]


def gather(run: Run, timeout: float = ANSWER, then: Callable[[Element], None] | None = None) -> Facts:
    """Ask everything, each program for at most ``timeout`` seconds, and what the answer can do without for less.

    ``then`` is called once with the CIB as soon as it is there, to begin what else is to be asked meanwhile; it must not take long.
    ClusterDown when this node's Pacemaker does not answer; NotInstalled when there is none.
    """
    patience = min(timeout, _PATIENCE)
    conf = _read(corosync_glance.CONF)
    printed: dict[str, str] = {}
    published: dict[str, Mapping[str, str]] = {}
    unanswered: list[str] = []
    silent: list[str] = []
    pacemaker = Pacemaker(run, timeout)
    calls = _Together()

    def ask(name: str, argv: list[str]) -> None:
        result = run(argv, timeout=timeout)
        if result.rc:
            raise _why_not(argv[0], result.rc, result.err or result.out)
        printed[name] = result.out

    def ask_corosync() -> None:
        try:
            result = run(["corosync-quorumtool", "-s"], timeout=patience)
        except HafailoverError:
            return
        printed["quorumtool"] = result.out
        if result.rc == _KILLED:
            silent.append(f"Corosync on this node did not say within {patience:g} s who votes")

    def ask_links() -> None:
        try:
            result = run(["corosync-cfgtool", "-s"], timeout=patience)
        except HafailoverError:
            return
        printed["links"] = result.out if result.rc == 0 else ""
        if result.rc:
            silent.append("Corosync did not tell this user which of its links work")

    def ask_published(name: str) -> None:
        try:
            published[name] = pacemaker.published(name)
        except PacemakerError as error:
            # The attribute daemon starts and stops a moment apart from the rest; what is left to tell is worth telling.
            unanswered.append(str(error))

    def ask_coordinator(dc: str) -> None:
        result = run(["crmadmin", "--status", dc, "--output-as=xml"], timeout=patience)
        printed["controller"] = result.out if result.rc == 0 else ""
        if result.rc == _KILLED:
            silent.append(f"the coordinator {dc} did not say within {patience:g} s whether the cluster is acting")

    configuration = calls.start(lambda: ask("cib", ["cibadmin", "--query"]))  # first: it says what else is to be asked
    calls.start(lambda: ask("mon", ["crm_mon", "-1", "--output-as=xml", "--fence-history=2"]))
    if conf:  # a cluster in a file has no Corosync
        calls.start(ask_corosync)
        if "ring1_addr" in conf:  # the loss of the only link is the loss of the node, which is seen anyway
            calls.start(ask_links)
    try:
        configuration.join()
        if "cib" not in printed:
            calls.finish()
        cib = parse(printed["cib"])
        if then is not None:
            then(cib)
        for name in _published_names(cib):
            calls.start(lambda name=name: ask_published(name))  # type: ignore[misc]
        dc = coordinator(cib)
        if dc:
            # Without an answer the state is merely unknown: a node that is just booting may never give one.
            calls.start(lambda: ask_coordinator(dc))
        here = _local_node(run, cib, timeout)
    except Exception:  # not an interruption: who takes the question back waits for no answer
        calls.finish()
        raise
    calls.finish()
    return Facts(
        mon=printed["mon"],
        cib=printed["cib"],
        published=published,
        coordinator_state=_state(printed.get("controller", "")),
        quorumtool=printed.get("quorumtool", ""),
        corosync_conf=conf,
        here=here,
        at=time.time(),
        unanswered=tuple(dict.fromkeys(unanswered)),
        silent=tuple(silent),
        links=printed.get("links", ""),
    )


def gather_idle(run: Run, say: Callable[[str], None], patience: float = _IDLE_WITHIN) -> Facts:
    """:func:`gather`, and a cluster that is just finishing something is given ``patience`` seconds to settle.

    A change of one score makes Pacemaker act for some milliseconds: nobody shall be sent away for having come in just these.
    """
    end = time.monotonic() + patience
    said = False
    while True:
        facts = gather(run)
        if facts.coordinator_state in ("", "S_IDLE") or time.monotonic() >= end:
            return facts
        if not said:
            said = True
            say("The cluster is acting right now; waiting for it to settle.")
        time.sleep(_LOOK_AGAIN)


def _published_names(cib: Element) -> Iterator[str]:
    """The private attributes to ask for: of the databases, and the newer reason of each monitor that is degraded."""
    for _, primitive in database_resources(cib):
        for what in PUBLISHED:
            yield f"hafailover-{primitive.get('id')}-{what}"
    degraded = {
        history.get("id", "").split(":")[0]
        for history in cib.iterfind("status/node_state/lrm/lrm_resources/lrm_resource")
        for operation in history.iterfind("lrm_rsc_op")
        if operation.get("operation") == "monitor" and operation.get("rc-code") in DEGRADED_CODES
    }
    for resource in sorted(degraded):
        yield restated.attribute(resource)


def _why_not(program: str, rc: int, said: str) -> HafailoverError:
    if rc in _NOT_CONNECTED or "Connection refused" in said or "not connected" in said.lower():
        return ClusterDown("Pacemaker does not run on this node")
    if rc == _KILLED:
        return ClusterDown(f"Pacemaker does not answer on this node: {said}")
    lines = said.strip().splitlines()
    return HafailoverError(f"{program} failed with {rc}: {lines[-1] if lines else 'no message'}")


def _local_node(run: Run, cib: Element, timeout: float) -> str:
    """This node's name in the cluster; the host's name, when it is one, saves asking."""
    host = os.uname().nodename
    if any(node.get("uname") == host for node in cib.iterfind("configuration/nodes/node")):
        return host
    return run(["crm_node", "-n"], timeout=timeout).out.strip()


def _state(xml: str) -> str:
    if not xml:
        return ""
    found = parse(xml).find(".//crmd")
    return "" if found is None else found.get("state", "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
