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
from hafailover.crm.errors import HafailoverError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status_xml import parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

COROSYNC_CONF = "/etc/corosync/corosync.conf"
PUBLISHED = ("incarnation", "why", "reign", "rejoin")
"""What the database agent publishes of each node that the status reads."""
DEGRADED_CODES = (str(DEGRADED), str(DEGRADED_PROMOTED))
"""The results of a monitor whose reason may have changed since Pacemaker recorded it (hafailover.agents.restated)."""

_NOT_CONNECTED = (
    102,
    110,
    64,
)  # CRM_EX_DISCONNECT, CRM_EX_NOT_CONNECTED of other versions, ENOTCONN as cibadmin may return it


class ClusterDown(HafailoverError):
    """Pacemaker does not run, or does not answer, on this node."""


class Facts(NamedTuple):
    """What the tools printed.

    published: attribute name → node → value. coordinator_state: ``S_IDLE`` …, or "" if unknown. unanswered: what could not be asked.
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
    """Calls that run at the same time; the first error of any is raised when their results are fetched."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []

    def start(self, call: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                call()
            except (HafailoverError, OSError) as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        self._threads.append(thread)

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


def gather(run: Run, timeout: float = 5.0) -> Facts:
    """Ask everything, each program for at most ``timeout`` seconds.

    ClusterDown when this node's Pacemaker does not answer; NotInstalled when there is none.
    """
    conf = _read(COROSYNC_CONF)
    printed: dict[str, str] = {}
    published: dict[str, Mapping[str, str]] = {}
    unanswered: list[str] = []
    pacemaker = Pacemaker(run, timeout)
    calls = _Together()

    def ask(name: str, argv: list[str], required: bool) -> None:
        result = run(argv, timeout=timeout)
        if result.rc and required:
            raise _why_not(argv[0], result.rc, result.err or result.out)
        printed[name] = result.out if result.rc == 0 or name == "quorumtool" else ""

    def ask_published(name: str) -> None:
        try:
            published[name] = pacemaker.published(name)
        except PacemakerError as error:
            # The attribute daemon starts and stops a moment apart from the rest; what is left to tell is worth telling.
            unanswered.append(str(error))

    calls.start(lambda: ask("mon", ["crm_mon", "-1", "--output-as=xml", "--fence-history=2"], required=True))
    if "device" in conf:
        calls.start(lambda: ask("quorumtool", ["corosync-quorumtool", "-s"], required=False))
    try:
        ask("cib", ["cibadmin", "--query"], required=True)
        cib = parse(printed["cib"])
        for name in _published_names(cib):
            calls.start(lambda name=name: ask_published(name))  # type: ignore[misc]
        dc = coordinator(cib)
        if dc:
            # Without an answer the state is merely unknown: a node that is just booting may never give one.
            calls.start(lambda: ask("controller", ["crmadmin", "--status", dc, "--output-as=xml"], required=False))
        here = _local_node(run, cib, timeout)
    finally:
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
    )


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
    if rc == 124:
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


def corosync_device(conf: str) -> tuple[str, str] | None:
    """(model, host) of the quorum device in corosync.conf, or None."""
    section: list[str] = []
    model, host, there = "", "", False
    for line in conf.splitlines():
        text = line.strip()
        if text.startswith("#"):
            continue
        if text.endswith("{"):
            section.append(text[:-1].strip())
        elif text == "}":
            section[-1:] = []
        elif section[:2] == ["quorum", "device"]:
            there = True
            key, _, value = text.partition(":")
            if key.strip() == "model":
                model = value.strip()
            elif key.strip() == "host":
                host = value.strip()
    return (model, host) if there else None


def device_state(quorumtool: str) -> tuple[bool | None, bool | None]:
    """Whether the quorum device's daemon runs here, and whether this node has its vote; None when corosync-quorumtool does not tell."""
    for line in quorumtool.splitlines():
        words = line.split()
        if line.rstrip().endswith("(local)") and len(words) >= 4:
            flags = words[2].split(",")
            return "NR" not in flags, "A" in flags and "V" in flags
    return None, None
