#!/usr/bin/python3
"""What one monitor costs: our agents and the stock ones, side by side on the nodes of a lab.

Every agent looks at the same thing (the lab's database, its virtual address, its broker, its mount, its volume, its cache) with the
environment that Pacemaker gives to a recurring monitor, while the cluster is in maintenance. The agents take turns, so that whatever
else the machine does falls on all of them. Processor time is that of the agent and of everything it starts and waits for.

    bin/hafailover lab up
    bench/agent_cost.py                      # a Markdown table
    bench/agent_cost.py -n 50 -o json
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import common
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.lab import Lab

OCF = "/usr/lib/ocf/resource.d"
SUCCESS, PROMOTED = 0, 8

# Runs in a node: each command in turn, RUNS times over. Input: {"runs": N, "commands": [[argv, environment], ...]};
# output: for each command a list of [processor seconds, seconds, exit code].
MEASURE = """
import json, os, sys, time
task = json.load(sys.stdin)
null = os.open("/dev/null", os.O_RDWR)
quiet = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
found = [[] for _ in task["commands"]]
for _ in range(task["runs"]):
    for measured, (argv, env) in zip(found, task["commands"]):
        begun = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, {**os.environ, **env}, file_actions=quiet)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - begun
        measured.append([usage.ru_utime + usage.ru_stime, seconds, os.waitstatus_to_exitcode(status)])
json.dump(found, sys.stdout)
"""


class Subject(NamedTuple):
    """A monitor to measure: which agent ("provider:name"), as which resource, in which role, with what exit code."""

    title: str
    agent: str
    instance: str
    params: dict[str, str]
    meta: dict[str, str]
    expected: int
    depth: int = 0

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Its command line, and what Pacemaker would add to its environment."""
        environment = {"OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": self.instance, "OCF_RA_VERSION_MAJOR": "1"}
        environment |= {f"OCF_RESKEY_{name}": value for name, value in self.params.items()}
        environment |= {f"OCF_RESKEY_CRM_meta_{name}": value for name, value in self.meta.items()}
        environment |= {"OCF_CHECK_LEVEL": str(self.depth)} if self.depth else {}
        return [f"{OCF}/{self.agent.replace(':', '/')}", "monitor"], environment


class Cost(NamedTuple):
    """Medians over the runs, in milliseconds; ``least_cpu_ms`` is the run that the machine disturbed least."""

    monitor: str
    node: str
    runs: int
    cpu_ms: float
    wall_ms: float
    least_cpu_ms: float


def parameters(lab: Lab, node: str, resource: str) -> dict[str, str]:
    """The instance attributes of a primitive, as the cluster has them."""
    xpath = f"//primitive[@id='{resource}']"
    answer = lab.exec(node, ["cibadmin", "-Q", "-A", xpath], check=True).stdout
    attributes = ElementTree.fromstring(answer).iter("nvpair")  # noqa: S314 (our own cluster's answer)
    wanted = ElementTree.fromstring(answer).find("instance_attributes")  # noqa: S314
    names = {item.get("id") for item in wanted} if wanted is not None else set()
    return {str(item.get("name")): str(item.get("value")) for item in attributes if item.get("id") in names}


class Role(NamedTuple):
    """Where the database named ``db`` is promoted, and the id of the address that goes with it; empty where there is none."""

    primary: str
    address: str


def subjects(lab: Lab, node: str, role: Role) -> list[Subject]:
    """What is measured on a node, of what the lab has: database, address, broker, mount, volume, cache."""
    there = lab.exec(node, ["crm_resource", "--list-raw"], check=True).stdout.split()
    names = {name.partition(":")[0] for name in there}
    found = _database(lab, node, promoted=node == role.primary) if "db" in names else []
    found += _address(lab, node, role.address) if role.address and node == role.primary else []
    found += _broker(lab, node) if "mq" in names else []
    found += _mount(lab, node) if "mnt-packs" in names else []
    found += _volume(lab, node) if "files-content" in names else []
    return found + (_cache(lab, node) if "cache" in names else [])


def _cache(lab: Lab, node: str) -> list[Subject]:
    """The cache's monitor; there is no stock agent that asks a cache anything."""
    meta = {"timeout": "20000", "interval": "10000", "on_node": node, "clone": "0", "clone_max": "2"}
    ours = parameters(lab, node, "cache")
    return [Subject("ocf:hafailover:memcached", "hafailover:memcached", "cache", ours, meta, SUCCESS)]


def _broker(lab: Lab, node: str) -> list[Subject]:
    """The broker's monitor, and the stock agent's on the same broker."""
    ours = parameters(lab, node, "mq")
    meta = {"timeout": "60000", "interval": "10000", "on_node": node, "clone": "0", "clone_max": "2"}
    ours.pop("OCF_CHECK_LEVEL", None)
    stock = {"set_policy": ""}
    return [
        Subject("ocf:hafailover:rabbitmq", "hafailover:rabbitmq", "mq", ours, meta, SUCCESS),
        Subject("ocf:heartbeat:rabbitmq-cluster", "heartbeat:rabbitmq-cluster", "bench", stock, meta, SUCCESS),
    ]


def _mount(lab: Lab, node: str) -> list[Subject]:
    """The monitor of a mount, which asks the server, and those of the stock agent: a look at the mount table, and a file written."""
    ours = parameters(lab, node, "mnt-packs")
    meta = {"timeout": "30000", "interval": "10000", "on_node": node, "clone": "0", "clone_max": "2"}
    # Whatever mounts it in a lab, the stock agent takes the way that it takes for NFS.
    stock = {"device": f"{ours['server']}:{ours['export']}", "directory": ours["directory"], "fstype": "nfs4"}
    title = "ocf:heartbeat:Filesystem"
    return [
        Subject("ocf:hafailover:nfsmount", "hafailover:nfsmount", "mnt-packs", ours, meta, SUCCESS),
        Subject(title, "heartbeat:Filesystem", "bench", stock, meta, SUCCESS),
        Subject(f"{title}, depth 20", "heartbeat:Filesystem", "bench", stock, meta, SUCCESS, depth=20),
    ]


def _volume(lab: Lab, node: str) -> list[Subject]:
    """The monitors of a GlusterFS daemon and volume, and those of GlusterFS's own agents, which look for processes alone."""
    meta = {"timeout": "60000", "interval": "10000", "on_node": node, "clone": "0", "clone_max": "3"}
    daemon, volume = parameters(lab, node, "files"), parameters(lab, node, "files-content")
    stock = {"volname": volume["volume"], "peer_map": volume["nodes"].replace(" ", ",")}
    return [
        Subject("ocf:hafailover:glusterd", "hafailover:glusterd", "files", daemon, meta, SUCCESS),
        Subject("ocf:glusterfs:glusterd", "glusterfs:glusterd", "bench", {"pid": "/run/glusterd.pid"}, meta, SUCCESS),
        Subject("ocf:hafailover:glustervolume", "hafailover:glustervolume", "files-content", volume, meta, SUCCESS),
        Subject("ocf:glusterfs:volume", "glusterfs:volume", "bench", stock, meta, SUCCESS),
    ]


def _database(lab: Lab, node: str, promoted: bool) -> list[Subject]:
    """The database in its role."""
    database = parameters(lab, node, "db")
    role, interval = ("Promoted", "2000") if promoted else ("Unpromoted", "3000")
    meta = {"timeout": "20000", "interval": interval, "role": role, "on_node": node, "promoted_max": "1"}
    meta |= {"master_max": "1", "clone": "0", "clone_max": "2", "notify": "true"}
    stock = {
        "binary": "/usr/sbin/mariadbd",
        "client_binary": "/usr/bin/mariadb",
        "datadir": "/var/lib/mysql",
        "pid": "/run/mysqld/mysqld.pid",
        "socket": "/run/mysqld/mysqld.sock",
        "replication_user": "root",  # by the socket, which asks for no password
    }
    expected = PROMOTED if promoted else SUCCESS
    return [
        Subject(f"ocf:hafailover:mariadb ({role})", "hafailover:mariadb", "db", database, meta, expected),
        Subject(f"ocf:heartbeat:mysql ({role})", "heartbeat:mysql", "bench", stock, meta, expected),
    ]


def _address(lab: Lab, node: str, resource: str) -> list[Subject]:
    """The address, watched between the monitors and not, and the stock agent's monitor of it."""
    ours = parameters(lab, node, resource)
    ip, _, prefix = ours["ip"].partition("/")
    prefix = ours.get("cidr_netmask", prefix)
    stock = {"ip": ip, **({"cidr_netmask": prefix} if prefix else {})}
    meta = {"timeout": "20000", "interval": "10000", "on_node": node}
    return [
        Subject("ocf:hafailover:vip", "hafailover:vip", resource, ours, meta, SUCCESS),
        Subject("ocf:hafailover:vip, watch=false", "hafailover:vip", resource, {**ours, "watch": "0"}, meta, SUCCESS),
        Subject("ocf:heartbeat:IPaddr2", "heartbeat:IPaddr2", "bench", stock, meta, SUCCESS),
    ]


def measure(lab: Lab, node: str, role: Role, runs: int) -> list[Cost]:
    """The costs on one node. HafailoverError if an agent does not say what a healthy one would say."""
    chosen = subjects(lab, node, role)
    if not chosen:
        raise HafailoverError(
            "the lab has nothing to measure: no database db, broker mq, mount mnt-packs, volume files-content or cache cache"
        )
    task = {"runs": runs + 1, "commands": [subject.command() for subject in chosen]}
    argv = ["/usr/bin/python3", "-c", MEASURE]
    # The cluster's own monitors would run between these, and what either published the other would publish again: to a monitor that has
    # another parent, the attribute daemon is another one.
    maintenance = ["crm_attribute", "-t", "crm_config", "-n", "maintenance-mode"]
    lab.exec(node, [*maintenance, "-v", "true"], check=True)
    try:
        answer = lab.exec(node, argv, timeout=60 + 30 * runs, input=json.dumps(task), check=True)
    finally:
        lab.exec(node, [*maintenance, "-D"])
        # ocf:heartbeat:mysql gives its resource, which the cluster does not have, a score in each monitor.
        lab.exec(node, ["crm_attribute", "-N", node, "-l", "reboot", "-n", "master-bench", "-D"])
        # And ocf:heartbeat:rabbitmq-cluster notes the name of the broker.
        lab.exec(node, ["crm_attribute", "-N", node, "-l", "reboot", "-n", "rmq-node-attr-bench", "-D"])
        lab.exec(node, ["crm_attribute", "-N", node, "-l", "forever", "-n", "rmq-node-attr-last-known-bench", "-D"])
    costs = []
    for subject, results in zip(chosen, json.loads(answer.stdout)):
        odd = {code for _, _, code in results} - {subject.expected}
        if odd:
            raise HafailoverError(f"{subject.title} on {node} answers {sorted(odd)}, expected {subject.expected}")
        warm = results[1:]  # the first one fills the caches
        cpu, wall = (statistics.median(column) * 1000 for column in list(zip(*warm))[:2])
        costs.append(Cost(subject.title, node, runs, round(cpu, 1), round(wall, 1), round(min(warm)[0] * 1000, 1)))
    return costs


def role(lab: Lab) -> Role:
    """Who is promoted, as ``hafailover status`` says. HafailoverError if a database has no primary at the moment."""
    told = json.loads(lab.exec(lab.cluster_nodes[0], ["hafailover", "status", "-o", "json"]).stdout)
    primaries = [service["primary"] for service in told["services"] if service["name"] == "db"]
    if primaries == [""]:
        raise HafailoverError("db has no primary now: wait until 'hafailover status' on a node says that it has")
    addresses = [address["id"] for address in told["addresses"] if address["follows"] == "db"]
    return Role(*(next(iter(found), "") for found in (primaries, addresses)))


def table(costs: Sequence[Cost]) -> str:
    """The costs in Markdown."""
    lines = ["| monitor | node | CPU ms | least | wall ms | runs |", "|---|---|---|---|---|---|"]
    lines += [f"| {c.monitor} | {c.node} | {c.cpu_ms} | {c.least_cpu_ms} | {c.wall_ms} | {c.runs} |" for c in costs]
    return "\n".join(lines)


def main() -> None:
    """Measure on the only lab, or the one named, and print."""
    parser = common.parser("Cost of one monitor, ours against the stock agents, in a lab.")
    parser.add_argument("-n", "--runs", type=int, default=30, help="runs of each monitor (default: 30)")
    options = parser.parse_args()
    with common.ending("agent_cost"):
        lab = common.lab(options.lab)
        now = role(lab)
        costs = [cost for node in lab.data_nodes for cost in measure(lab, node, now, options.runs)]
    common.answer(options, costs, table(costs))


if __name__ == "__main__":
    main()
