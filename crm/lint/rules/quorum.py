"""Rules about who votes: corosync.conf's quorum, its device, and the links that the votes travel on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hafailover.crm.lint import ERROR, WARNING, Facts, Found, rule
from hafailover.crm.lint.about import words
from hafailover.crm.lint.paste import command

if TYPE_CHECKING:
    from hafailover.crm.corosync_conf import ClusterNode, CorosyncConf

_RELOAD = "crm corosync push && crm corosync reload"


@rule(
    "two-node-device",
    ERROR,
    code="L17",
    needs=("corosync",),
    remedy="take two_node out: the device is the third voter",
    why="Corosync ends at its start with 'two_node and quorum device cannot be configured at the same time', so the cluster that still "
    "runs is gone after the next reboot",
)
def two_node_device(facts: Facts) -> Iterator[Found]:
    """two_node stands beside a quorum device."""
    conf: CorosyncConf = facts.corosync
    if conf.is_on("quorum.two_node") and conf.has_device:
        yield Found(
            conf.place("quorum.two_node"),
            f"two_node: {conf.text('quorum.two_node')} stands beside the quorum device {_host(conf)}; Corosync does not start with both",
            f"crm corosync set quorum.two_node 0 && {_RELOAD}",
        )


@rule(
    "two-nodes-stop",
    ERROR,
    code="L17b",
    needs=("corosync",),
    remedy="add a quorum device (the better way) or two_node: 1 with fencing",
    why="when one of two nodes dies the other has one vote of two, which is no majority, and stops everything",
)
def two_nodes_stop(facts: Facts) -> Iterator[Found]:
    """Two nodes have neither two_node nor a quorum device."""
    conf: CorosyncConf = facts.corosync
    voting = [node for node in conf.nodes if node.votes > 0]
    votequorum = conf.text("quorum.provider") == "corosync_votequorum"
    if votequorum and len(conf.nodes) == len(voting) == 2 and not conf.is_on("quorum.two_node") and not conf.has_device:
        if len({node.votes for node in voting}) > 1 or conf.is_on("quorum.auto_tie_breaker"):
            return
        yield Found(
            conf.place("quorum"),
            f"{words(node.called for node in voting)} have one vote each and nobody else votes: when one is lost the other stops too",
            f"crm corosync set quorum.two_node 1 && {_RELOAD}",
        )


@rule(
    "wait-for-all-off",
    ERROR,
    code="L18",
    needs=("corosync",),
    remedy="take wait_for_all out; two_node switches it on by itself",
    why="a node that boots while its network is down starts everything a second time, fences the node that serves, is fenced by it when "
    "it comes back, and so on",
)
def wait_for_all_off(facts: Facts) -> Iterator[Found]:
    """wait_for_all is switched off although two_node is on."""
    conf: CorosyncConf = facts.corosync
    if conf.is_on("quorum.two_node") and not conf.waits_for_all:
        yield Found(
            conf.place("quorum.wait_for_all"),
            "wait_for_all: 0 with two_node: a node that boots alone takes itself for the cluster without having seen the other",
            f"crm corosync set quorum.wait_for_all 1 && {_RELOAD}",
        )


@rule(
    "device-on-node",
    ERROR,
    code="L19",
    needs=("corosync",),
    remedy="run corosync-qnetd on a machine that is no node, best in another room",
    why="the device dies with its node, and takes with it the vote that the other node needs just then",
)
def device_on_node(facts: Facts) -> Iterator[Found]:
    """The quorum device's server is a node of the cluster."""
    conf: CorosyncConf = facts.corosync
    host = conf.text("quorum.device.net.host")
    node = next((one for one in conf.nodes if host and _is(one, host)), None)
    if node is not None:
        yield Found(
            conf.place("quorum.device.net.host"),
            f"the quorum device is asked at {host}, which is {node.called}: with that node two votes are lost at once",
            f"crm corosync set quorum.device.net.host <THIRD-MACHINE> && {_RELOAD}",
        )


@rule(
    "device-votes",
    ERROR,
    code="L19b",
    needs=("corosync",),
    remedy="ffsplit counts right with one vote, lms with one less than there are nodes",
    why="with another number of votes the side that should go on has no majority, or both have one",
)
def device_votes(facts: Facts) -> Iterator[Found]:
    """The quorum device has a number of votes that its algorithm cannot work with."""
    conf: CorosyncConf = facts.corosync
    if not conf.has_device or conf.text("quorum.device.model") != "net" or not conf.nodes:
        return
    algorithm, count = conf.text("quorum.device.net.algorithm", "test"), len(conf.nodes)
    votes = conf.number("quorum.device.votes")
    if conf.get("quorum.device.votes") is None:
        if conf.get("quorum.expected_votes") is not None:
            text = "the quorum device has no votes though expected_votes is given; Corosync does not start so"
            yield Found(conf.place("quorum.device"), text, _set_votes(1 if algorithm == "ffsplit" else count - 1))
            return
        votes = count - 1  # what Corosync takes when nothing is said
    right = {"ffsplit": 1, "lms": max(1, count - 1)}.get(algorithm)
    if right is not None and votes != right:
        written = conf.text("quorum.device.votes") or f"{votes}, because none are given"
        yield Found(
            conf.place("quorum.device.votes") if conf.get("quorum.device.votes") else conf.place("quorum.device"),
            f"the quorum device has the votes {written}; {algorithm} with {count} nodes needs {right}",
            _set_votes(right),
        )


@rule(
    "device-with-own-tricks",
    ERROR,
    code="L19c",
    needs=("corosync",),
    remedy="take last_man_standing, auto_tie_breaker and allow_downscale out; the device does what they are for",
    why="Corosync ends at its start with 'quorum.device is not compatible with last_man_standing', so the node is missing after its next "
    "reboot",
)
def device_with_own_tricks(facts: Facts) -> Iterator[Found]:
    """last_man_standing, auto_tie_breaker or allow_downscale stands beside a quorum device."""
    conf: CorosyncConf = facts.corosync
    for name in ("last_man_standing", "auto_tie_breaker", "allow_downscale"):
        if conf.has_device and conf.is_on(f"quorum.{name}"):
            yield Found(
                conf.place(f"quorum.{name}"),
                f"{name} stands beside the quorum device {_host(conf)}; Corosync does not start with both",
                f"{command('crm', 'corosync', 'set', f'quorum.{name}', '0')} && {_RELOAD}",
            )


@rule(
    "single-link",
    WARNING,
    code="L22",
    needs=("corosync",),
    remedy="give every node a second address on a network that shares no switch with the first",
    why="a switch that restarts, or a cable, looks like the death of the other node: it is fenced although it is well",
)
def single_link(facts: Facts) -> Iterator[Found]:
    """All nodes talk over a single network."""
    conf: CorosyncConf = facts.corosync
    if len(conf.nodes) < 2 or any(len(node.links) != 1 for node in conf.nodes):
        return
    number = max(number for node in conf.nodes for number in node.links) + 1
    if facts.topology is not None:
        fix = "\n".join(
            f"  {node.called}: {{links: [{', '.join(node.links.values())}, <ADDRESS-IN-THE-SECOND-NETWORK>]}}"
            for node in conf.nodes
        )
    else:
        fix = "\n".join(
            f"node {{ # {node.called}\n    ring{number}_addr: <ADDRESS-IN-THE-SECOND-NETWORK>\n}}"
            for node in conf.nodes
        )
    named = words(next(iter(node.links.values())) for node in conf.nodes)
    yield Found(_links_place(facts, conf), f"the nodes reach each other by one link alone, {named}", fix)


@rule(
    "unequal-links",
    ERROR,
    code="L22b",
    needs=("corosync",),
    remedy="give every node an address for each link",
    why="Corosync refuses such a file, or uses the second link between some nodes only: the others lose each other with the first",
)
def unequal_links(facts: Facts) -> Iterator[Found]:
    """Some nodes have an address for a link and others have none."""
    conf: CorosyncConf = facts.corosync
    every = sorted({number for node in conf.nodes for number in node.links})
    for node in conf.nodes:
        lacking = [number for number in every if number not in node.links]
        if lacking:
            yield Found(
                f"{conf.file}:{node.line}",
                f"{node.called} has no address for link {words(map(str, lacking))}, which other nodes have",
                "\n".join(f"ring{number}_addr: <ADDRESS>" for number in lacking),
            )


def _host(conf: CorosyncConf) -> str:
    return conf.text("quorum.device.net.host") or f"of model {conf.text('quorum.device.model')}"


def _set_votes(votes: int) -> str:
    return f"crm corosync set quorum.device.votes {votes} && {_RELOAD}"


def _is(node: ClusterNode, host: str) -> bool:
    """Whether a host is a node, by its name with or without domain or by an address of it."""
    if host in node.links.values():
        return True
    mine, other = node.name.lower(), host.lower()
    # Two different domains may each have a db1.
    return bool(mine) and (
        mine == other or (mine.partition(".")[0] == other.partition(".")[0] and ("." in mine) != ("." in other))
    )


def _links_place(facts: Facts, conf: CorosyncConf) -> str:
    return "nodes" if facts.topology is not None else conf.place("nodelist")
