"""The lab itself: machines that boot, lose their network and their power, fence each other, and leave nothing behind.

Runs on a real lab as root; the resources of the cluster are not the subject here.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hafailover.crm import topology as topologies
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.vagrant import cgroups, host, state
from hafailover.vagrant.lab import Lab, Options

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = str(ROOT / "bin" / "hafailover")
MEMBERS = str(Path(__file__).with_name("programs") / "members.py")

# No service: the cluster of a lab that only tests the lab is formed sooner.
BARE = """
version: 1
lab: true
cluster: {name: labtest, encryption: off, detection: {token: 1s}}
nodes:
  n1: {id: 1, links: [10.78.0.1, 10.78.1.1]}
  n2: {id: 2, links: [10.78.0.2, 10.78.1.2]}
quorum: {device: {host: 10.78.0.3, tls: off}}
"""


def leftovers(name):
    """Everything of a lab that the machine still has: processes, cgroups, files, mounts."""
    found = [f"pid {pid}" for pid in cgroups.pids(name)]
    found += [str(path) for path in cgroups.directories(name) if path.exists()]
    found += [str(path) for path in (state.directory(name), host.labs_dir() / f".{name}.lock") if path.exists()]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/labs/{name}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/{name}/".encode() in line or f"--machine={name}-".encode() in line:
            found.append(f"{process.name}: {line!r}")
    return found


def network_namespaces(pids):
    """The network namespaces these processes are in, but for our own."""
    found = set()
    for pid in pids:
        try:
            found.add(Path(f"/proc/{pid}/ns/net").readlink())
        except OSError:
            continue
    return found - {Path("/proc/self/ns/net").readlink()}


def program(*words, **keywords):
    return subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=180, **keywords)


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    file = tmp_path_factory.mktemp("lab") / "bare.yml"
    file.write_text(BARE)
    return topologies.load(file)


@pytest.fixture(scope="module")
def lab(topology):
    Lab.down("labtest")
    try:
        yield Lab.up("labtest", topology, Options(shares=("both",)))
    finally:
        Lab.down("labtest")
    assert leftovers("labtest") == []


@pytest.fixture(autouse=True)
def well(request):
    """Each test of the shared lab finds it healthy."""
    if "lab" not in request.fixturenames:
        return
    shared = request.getfixturevalue("lab")
    for name in shared.nodes:
        shared.heal(name)
        shared.power_on(name)
    host.wait("the lab is healthy", 90, lambda: None if shared.problems() else True, 0.2)


def reaches(lab, node, address):
    return lab.exec(node, ["ping", "-c1", "-W1", address], timeout=10).returncode == 0


def members(lab, node, *words):
    """What Corosync's library says there twice, and what its program does: [quorate, ids]."""
    done = lab.exec(node, ["python3", "-B", MEMBERS, *words], timeout=60, check=True)
    return json.loads(done.stdout)


@contextlib.contextmanager
def frozen(lab, node, program):
    """``program`` does not answer there, and goes on afterwards."""
    (pid,) = lab.exec(node, ["pidof", program], check=True).stdout.split()
    lab.exec(node, ["kill", "-STOP", pid], check=True)
    try:
        yield
    finally:
        lab.exec(node, ["kill", "-CONT", pid], check=True)


def await_fencing(lab, node, since, timeout=60):
    def fenced():
        return next((t for t, who, what in lab.fence_log() if who == node and what == "off" and t > since), None)

    return host.wait(f"{node} is fenced", timeout, fenced)


def test_nodes_are_machines_of_their_own(lab):
    assert list(lab.nodes) == ["n1", "n2", "quorum"]
    assert (lab.data_nodes, lab.quorum_node) == (["n1", "n2"], "quorum")
    for name in lab.nodes:
        assert lab.exec(name, ["hostname"]).stdout.strip() == name
        assert lab.exec(name, ["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert lab.exec("n1", ["ip", "-brief", "address", "show", "eth1"]).stdout.split()[2] == "10.78.1.1/24"
    assert lab.exec("n1", ["touch", str(ROOT / "written")]).returncode != 0


def test_the_host_sees_no_interface_of_the_lab(lab):
    assert "10.78." not in host.run(["ip", "address"], timeout=5).stdout


def test_exec_passes_input_exit_code_and_deadline(lab):
    answer = lab.exec("n1", ["sh", "-c", "cat; echo oops >&2; exit 7"], input="given")
    assert (answer.stdout, answer.stderr, answer.returncode) == ("given", "oops\n", 7)
    with pytest.raises(HafailoverError, match="no answer within"):
        lab.exec("n1", ["sleep", "30"], timeout=0.5)
    with pytest.raises(UsageError, match="it has n1, n2, quorum"):
        lab.exec("n9", ["true"])


def test_the_client_is_on_the_network_and_outside_of_the_nodes(lab):
    ping = lab.client_popen(["ping", "-c1", "-W1", "10.78.1.2"], stdout=subprocess.PIPE)
    assert ping.wait(timeout=10) == 0
    assert lab.client_exec(["hostname"]).stdout == host.run(["hostname"], timeout=5).stdout


def test_a_shared_directory(lab):
    lab.exec("n1", ["sh", "-c", "echo hello >/shared/both/file"], check=True)
    assert lab.exec("n2", ["cat", "/shared/both/file"]).stdout == "hello\n"


def test_the_quorum_device_votes(lab):
    votes = lab.exec("n1", ["corosync-quorumtool", "-s"]).stdout
    assert "Qdevice" in votes
    assert "Total votes:      3" in votes


def test_corosyncs_library_says_what_its_program_says(lab):
    told = members(lab, "n1")
    assert told["first"] == told["again"] == told["program"] == [True, ["1", "2"]]
    lab.exec("n2", ["systemctl", "stop", "pacemaker", "corosync-qdevice", "corosync"], timeout=120, check=True)
    try:
        assert members(lab, "n1")["first"] == [True, ["1"]], "as soon as it has left"
        nobody = members(lab, "n2", "library")
        assert (nobody["first"], nobody["again"]) == (None, None) and nobody["took"] < 2
    finally:
        lab.exec("n2", ["systemctl", "start", "corosync", "corosync-qdevice", "pacemaker"], timeout=120, check=True)


def test_a_cut_node_reaches_nobody_and_nobody_it(lab):
    lab.exec("n1", ["crm_attribute", "--name=stonith-enabled", "--update=false"], check=True)
    try:
        lab.cut("quorum")
        assert not reaches(lab, "n1", "10.78.0.3")
        lab.cut("n2")
        assert not reaches(lab, "n2", "10.78.0.1")
        assert not reaches(lab, "n1", "10.78.1.2")
        refused = lab.exec("n2", ["fence_lab", "--action=off", "--plug=n1"])
        assert refused.returncode != 0
        assert "does not reach the power switch" in refused.stderr
        host.wait("n2 is alone", 30, lambda: members(lab, "n2")["program"] == [False, ["2"]] or None)
        assert members(lab, "n2")["first"] == [False, ["2"]]
        with frozen(lab, "n2", "corosync"):
            asked = members(lab, "n2", "library")
        assert (asked["first"], asked["again"]) == (None, None), "it hangs, and whoever asks does not"
        lab.heal("n2")
        host.wait("n2 reaches n1", 10, lambda: reaches(lab, "n2", "10.78.0.1") or None)
        assert [f"{e.node} {e.action}" for e in lab.power_log()][-3:] == ["quorum cut", "n2 cut", "n2 heal"]
    finally:
        lab.heal("n2")
        lab.heal("quorum")
        lab.exec("n1", ["crm_attribute", "--name=stonith-enabled", "--update=true"], check=True)


def test_a_node_without_power_is_silent_keeps_its_disk_and_stays_off(lab):
    lab.exec("n2", ["sh", "-c", "echo kept >/root/kept; ip address add 10.78.0.77/24 dev eth0; logger before-the-end"])
    boots = lab.states()["n2"].boots
    lab.power_off("n2", hold=True)
    began = time.time()
    assert not reaches(lab, "n1", "10.78.0.77")
    with pytest.raises(HafailoverError, match="n2 is off"):
        lab.exec("n2", ["true"])
    assert "before-the-end" in lab.logs("n2")
    await_fencing(lab, "n2", began)
    time.sleep(2)
    assert lab.states()["n2"].power == "off"
    lab.power_on("n2")
    lab.await_boot("n2")
    assert lab.states()["n2"].boots == boots + 1
    assert lab.exec("n2", ["cat", "/root/kept"]).stdout == "kept\n"
    assert "10.78.0.77" not in lab.exec("n2", ["ip", "address"]).stdout


def test_a_cut_node_is_fenced_by_the_other_and_comes_back(lab):
    boots = lab.states()["n1"].boots
    began = time.time()
    lab.cut("n1")
    await_fencing(lab, "n1", began)
    lab.await_boot("n1")
    assert lab.states()["n1"].boots == boots + 1
    assert lab.states()["n1"].cut, "fencing does not mend a cable"
    assert {e.by for e in lab.power_log() if e.time > began and e.action == "off"} == {"n2"}


def test_a_node_without_power_is_fenced_which_gives_it_power(lab):
    began = time.time()
    lab.power_off("n2")
    await_fencing(lab, "n2", began)
    host.wait("n2 is back", 60, lambda: True if lab.states()["n2"].power == "on" else None)


def test_a_node_that_reboots_by_itself_comes_back_with_clean_cards(lab):
    boots = lab.states()["n2"].boots
    lab.exec("n2", ["ip", "address", "add", "10.78.0.77/24", "dev", "eth0"], check=True)
    lab.exec("n2", ["systemctl", "reboot", "--force"])
    host.wait("n2 has rebooted", 60, lambda: True if lab.states()["n2"].boots > boots else None)
    lab.await_boot("n2")
    assert "10.78.0.77" not in lab.exec("n2", ["ip", "address"]).stdout


def test_kill_hits_the_main_process_or_a_pid(lab):
    lab.exec("n1", ["systemd-run", "--unit=victim", "sh", "-c", "sleep 500 & sleep 600"], check=True)
    lab.kill("n1", "victim.service", signal.SIGTERM)
    shown = ["systemctl", "show", "--property=Result,SubState", "victim.service"]
    host.wait("victim ends", 10, lambda: True if "dead" in lab.exec("n1", shown).stdout else None)
    sleeper = lab.exec("n1", ["sh", "-c", "setsid sleep 700 >/dev/null 2>&1 & echo $!"]).stdout.strip()
    lab.kill("n1", sleeper)
    host.wait("it ends", 10, lambda: True if lab.exec("n1", ["test", "-e", f"/proc/{sleeper}"]).returncode else None)
    with pytest.raises(HafailoverError, match="nosuch"):
        lab.kill("n1", "nosuch.service")


def test_the_journal_in_records(lab):
    began = time.time()
    lab.exec(
        "n1", ["logger", "--journald"], input="MESSAGE=seen\nHAFAILOVER_EVENT=test\nHAFAILOVER_X=\x01\xff\n", check=True
    )
    records = list(lab.journal("n1", began - 1, ["HAFAILOVER_EVENT=test"]))
    assert [record["MESSAGE"] for record in records] == ["seen"]
    assert isinstance(records[0]["HAFAILOVER_X"], str)
    assert began - 1 < int(records[0]["__REALTIME_TIMESTAMP"]) / 1e6 < time.time()
    assert list(lab.journal("n1", time.time() + 100)) == []


def test_up_again_is_idempotent_and_refuses_another_topology(lab, topology, tmp_path):
    assert Lab.up("labtest", topology, Options(shares=("both",))).nodes == lab.nodes
    with pytest.raises(RefusedError, match="or with other options"):
        Lab.up("labtest", topology, Options(shares=("both",), extra=1))
    other = tmp_path / "other.yml"
    other.write_text(BARE.replace("10.78.0.1,", "10.78.0.11,"))
    with pytest.raises(RefusedError, match="down labtest"):
        Lab.up("labtest", topologies.load(other), Options(shares=("both",)))
    lab.cut("quorum")
    with pytest.raises(RefusedError, match="not healthy: quorum is cut"):
        Lab.up("labtest", topology, Options(shares=("both",)))


def test_the_program(lab, tmp_path):
    answer = program("lab", "exec", "--lab", "labtest", "n1", "--", "sh", "-c", "cat; exit 9", input="through")
    assert (answer.returncode, answer.stdout) == (9, "through")
    report = json.loads(program("lab", "status", "labtest", "-o", "json").stdout)
    assert report["healthy"]
    assert report["nodes"]["n1"]["addresses"] == ["10.78.0.1/24", "10.78.1.1/24"]
    assert "labtest" in [row["name"] for row in json.loads(program("lab", "list", "-o", "json").stdout)]
    assert program("lab", "logs", "--lab", "labtest", "n1", "--since", "-1h").stdout.count("\n") > 50
    assert program("lab", "cut", "--lab", "labtest", "quorum").returncode == 0
    assert program("lab", "status", "labtest").returncode == 1
    assert program("lab", "heal", "--lab", "labtest", "quorum").returncode == 0
    for words, code, said in [
        (["exec", "--lab", "labtest", "n9", "--", "true"], 2, "no node 'n9'"),
        (["exec", "--lab", "nosuch", "n1", "--", "true"], 1, "there is no lab 'nosuch'"),
        (["kill", "--lab", "labtest", "-s", "BOGUS", "n1", "1"], 2, "no signal 'BOGUS'"),
        (["up", "Bad_Name"], 2, "allowed are"),
        (["up", "x", "--packages", "nosuch"], 2, "no package set"),
        (["up", "x", "--topology", str(tmp_path / "none.yml")], 2, "none.yml"),
    ]:
        answer = program("lab", *words)
        assert (answer.returncode, said in answer.stderr) == (code, True), answer.stderr
        assert "Traceback" not in answer.stderr


def test_two_labs_with_the_same_addresses_side_by_side(lab, topology):
    try:
        second = Lab.up("labtest2", topology)
        second.power_off("n1", hold=True)
        assert lab.states()["n1"].power == "on"
        assert reaches(lab, "n2", "10.78.0.1")
        assert not reaches(second, "n2", "10.78.0.1")
    finally:
        Lab.down("labtest2")
    assert leftovers("labtest2") == []
    assert lab.problems() == []


def test_extra_nodes_are_full_members(topology):
    try:
        lab = Lab.up("labextra", topology, Options(extra=1))
        assert lab.cluster_nodes == ["n1", "n2", "extra1"]
        assert lab.data_nodes == ["n1", "n2"]
        assert "Total votes:      5" in lab.exec("extra1", ["corosync-quorumtool", "-s"]).stdout
    finally:
        Lab.down("labextra")


@pytest.mark.parametrize("step", ["network:", "boot:", "cluster:", "apply:"])
def test_nothing_stays_after_up_was_killed_half_way(topology, step):
    up = subprocess.Popen(
        [sys.executable, PROGRAM, "lab", "up", "labkilled", "--topology", topology.file],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in up.stderr:
            if step in line:
                break
    finally:
        up.send_signal(signal.SIGKILL)
        up.wait(timeout=10)
        up.stderr.close()
    namespaces = network_namespaces(cgroups.pids("labkilled"))
    with pytest.raises(RefusedError, match="lab down labkilled"):
        Lab.up("labkilled", topology)
    assert Lab.down("labkilled")
    assert leftovers("labkilled") == []
    everybody = [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    assert not network_namespaces(everybody) & namespaces
    assert not Lab.down("labkilled")


def test_nothing_stays_after_the_daemon_was_killed(topology):
    lab = Lab.up("labkilled", topology)
    try:
        for pid in cgroups.pids("labkilled", "powerd"):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(HafailoverError, match="daemon is gone; 'hafailover lab down labkilled'"):
            lab.exec("n1", ["true"])
    finally:
        assert Lab.down("labkilled")
    assert leftovers("labkilled") == []


def test_a_lab_that_gets_not_healthy_is_left_to_be_looked_at(topology):
    try:
        with pytest.raises(IncompleteError, match="lab status labsick"):
            Lab.up("labsick", topology, Options(timeout=0))
        assert Lab.open("labsick").exec("n1", ["true"]).returncode == 0
    finally:
        assert Lab.down("labsick")
    assert leftovers("labsick") == []
