"""How a drill gets at the nodes and servers of a real cluster, and what it does there, with programs that note how they were called."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import status_samples
from hafailover.agents.mariadb.replication import Login
from hafailover.crm import local
from hafailover.crm.drill import breakage as breakage_module
from hafailover.crm.drill import cutting, database
from hafailover.crm.drill.breakage import Breakage
from hafailover.crm.drill.cluster_place import ClusterPlace, clock_offset
from hafailover.crm.drill.reach import Reach, Server
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from hafailover.crm.history.records import Record

SERVER = Server({"db1": "192.0.2.11", "db2": "192.0.2.12"}, 3307, "/run/mysqld/other.sock")
PASSWORD = 'p"a\\ss word'
PROGRAM = """#!{python}
import json, os, sys
files = [word.partition("=")[2] for word in sys.argv if word.startswith("--defaults-file=")]
text = [open(name).read() for name in files if os.path.exists(name)]
modes = [oct(os.stat(name).st_mode & 0o777) for name in files if os.path.exists(name)]
given = "" if sys.stdin.isatty() else sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv, "stdin": given, "files": text, "modes": modes}}) + "\\n")
print({says!r})
sys.exit({code})
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Install a program; returns how all of them were called so far."""
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def install(name, says="", code=0):
        path = tmp_path / "bin" / name
        path.write_text(PROGRAM.format(python=sys.executable, log=str(log), says=says, code=code))
        path.chmod(0o755)

    def made():
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [{**one, "argv": [Path(one["argv"][0]).name, *one["argv"][1:]]} for one in found]

    made.install = install
    return made


def test_this_node_is_asked_directly_and_another_by_ssh_only_if_it_lets_root_in(calls):
    calls.install("ssh", code=255)
    with Reach("db1", SERVER, None) as reach:
        reach.look_for_ssh(["db1", "db2"])
        assert reach.works_on("db1") and not reach.works_on("db2") and reach.by_ssh == frozenset()
        with pytest.raises(HafailoverError, match="cannot be run on db2 from db1: ssh does not let root in"):
            reach.run("db2", ["true"], 5)
        calls.install("ssh", says="hello")
        reach.look_for_ssh(["db1", "db2"])
        assert reach.run("db2", ["printf", "a b"], 5).stdout == "hello\n"
    last = calls()[-1]["argv"]
    assert (
        last[-3:] == ["db2", "--", "printf 'a b'"] and "BatchMode=yes" in last and last[last.index("-l") + 1] == "root"
    )


def test_the_passwords_of_a_killed_one_are_removed_by_the_next_and_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # nobody but root may write to /run
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed, runs = tmp_path / f"hafailover-drill-{ended.pid}-abc", tmp_path / f"hafailover-drill-{os.getppid()}-abc"
    other = tmp_path / "hafailover-drill-backup"
    for one in (killed, runs, other):
        one.mkdir()
    (killed / "12-345.cnf").write_text("[client]")
    with Reach("db1", SERVER, None):
        assert not killed.exists() and runs.exists() and other.exists()
        assert len(list(tmp_path.iterdir())) == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_the_own_server_is_asked_as_root_and_others_by_the_account_that_may_do_most(calls):
    calls.install("mariadb", says="1")
    calls.install("ssh", code=255)
    with Reach("db1", SERVER, Login("repl", PASSWORD)) as reach:
        reach.mariadb("db1", ["--batch"], "SELECT 1", 5)
        reach.mariadb("db2", ["--batch"], "SELECT 2", 5)
        reach.know("drill", "drill-secret")
        reach.mariadb("db2", ["--batch"], "SELECT 3", 5)
        assert not reach.administers("db2") and reach.administers("db1")
        where = Path(reach._directory)
        assert where.stat().st_mode & 0o777 == 0o700
    assert not where.exists()
    own, reader, drill = calls()
    assert own["argv"] == ["mariadb", "--socket=/run/mysqld/other.sock", "--batch"] and own["stdin"] == "SELECT 1"
    assert reader["argv"][2:] == ["--host=192.0.2.12", "--port=3307", "--protocol=tcp", "--batch"]
    assert reader["files"] == ['[client]\nuser="repl"\npassword="p\\"a\\\\ss word"\n'] and reader["modes"] == ["0o600"]
    assert 'user="drill"' in drill["files"][0]
    for call in calls():
        assert not any(secret in word for word in call["argv"] for secret in (PASSWORD, "drill-secret"))


def test_an_administrators_account_is_used_where_it_is_given(calls, tmp_path):
    calls.install("mariadb")
    (tmp_path / "dba.cnf").write_text("[client]\nuser=dba\n")
    with Reach("db1", SERVER, Login("repl", PASSWORD), str(tmp_path / "dba.cnf")) as reach:
        reach.mariadb("db2", [], "SELECT 1", 5)
        assert reach.administers("db2")
    assert calls()[0]["files"] == ["[client]\nuser=dba\n"]


def test_a_server_that_nobody_can_ask_is_said_to_be_one():
    with Reach("db1", SERVER, None) as reach, pytest.raises(HafailoverError, match="there is no account for it"):
        reach.mariadb("db2", [], "SELECT 1", 5)


@pytest.fixture
def place(calls):
    status = status_samples.status("healthy")
    links = {"db1": ["192.0.2.11", "198.51.100.11"], "db2": ["192.0.2.12", "198.51.100.12"]}
    with Reach("db1", SERVER, None) as reach:
        yield ClusterPlace(status, reach, links, ["192.0.2.13"], look=lambda: status)


def test_power_is_taken_and_given_by_the_clusters_own_fence_device(place, calls):
    calls.install("stonith_admin")
    place.power_off("db2")
    assert place.states()["db2"].power == "off"
    assert [event[1:] for event in place._events] == [("db2", "off")]
    place.power_on("db2")
    assert place.states()["db2"].power == "on"
    first, second = calls()
    assert first["argv"][1:3] == ["--fence", "db2"] and second["argv"][1:3] == ["--unfence", "db2"]


def test_a_node_that_may_be_off_is_remembered_as_one_until_it_is_on(place, calls):
    calls.install("stonith_admin", says="Timer expired", code=1)
    with pytest.raises(HafailoverError, match="the fence device did not switch db2 off: Timer expired"):
        place.power_off("db2")
    with pytest.raises(HafailoverError, match="did not switch db2 on"):
        place.power_on("db2")
    assert place.states()["db2"].power == "off"


def test_a_node_that_came_back_by_itself_is_not_switched_on_again(place, calls):
    place.power_on("db2")
    assert calls() == []


def test_the_clock_of_another_node_is_read_from_its_server(place, calls):
    calls.install("ssh", code=255)
    calls.install("mariadb", says="4102444800.5")
    place.know("drill", "x")
    assert clock_offset(place, "db2") > 1e9
    calls.install("mariadb", says="NULL")
    assert clock_offset(place, "db2") is None
    calls.install("mariadb", code=1)
    assert clock_offset(place, "db2") is None


def test_a_journal_that_cannot_be_read_is_empty(place):
    assert list(place.journal("db2")) == [] and place.logs("db2") == ""


def test_nobodys_tables_are_read(place):
    assert place.tables() is False


class Script:
    """Takes the programs that would be run on a node."""

    def __init__(self, refuse=""):
        self.calls, self.refuse = [], refuse

    def __call__(self, argv, input=""):
        self.calls.append((list(argv), input))
        if argv[0] == self.refuse:
            raise HafailoverError(f"{argv[0]} failed")
        return ""

    @property
    def rules(self):
        return next(input for argv, input in self.calls if argv[0] == "nft")


def test_what_takes_a_cut_back_is_there_before_the_cut():
    run = Script()
    cutting.cut_node(run, ["192.0.2.11", "2001:db8::1"])
    assert [argv[0] for argv, _ in run.calls] == ["systemd-run", "nft"]
    assert f"--on-active={cutting.AT_MOST}" in run.calls[0][0]
    refused = Script("systemd-run")
    with pytest.raises(HafailoverError):
        cutting.cut_node(refused, ["192.0.2.11"])
    assert [argv[0] for argv, _ in refused.calls] == ["systemd-run"]


def test_a_cut_that_could_not_be_made_is_taken_back():
    run = Script("nft")
    with pytest.raises(HafailoverError):
        cutting.cut_node(run, ["192.0.2.11"])
    assert "delete table inet hafailover_drill" in run.calls[-1][0][-1]


def test_a_cut_lets_ssh_through_and_knows_both_families():
    run = Script()
    cutting.cut_node(run, ["192.0.2.11", "2001:db8::1"])
    lines = run.rules.splitlines()
    for family, address in (("ip", "192.0.2.11"), ("ip6", "2001:db8::1")):
        mine = [line for line in lines if f"{family} saddr {{ {address} }}" in line]
        assert ["tcp dport 22 accept" in mine[0], mine[1].endswith("drop")] == [True, True]
    nothing = Script()
    with pytest.raises(HafailoverError, match="a-name is no address"):
        cutting.cut_node(nothing, ["192.0.2.11", "a-name"])
    assert nothing.calls == []


@pytest.mark.parametrize(("deleted", "listed", "left"), [(0, 1, False), (1, 1, False), (1, 0, True)])
def test_a_cut_that_is_still_there_is_told_and_the_nodes_own_timer_goes_on(calls, tmp_path, deleted, listed, left):
    calls.install("systemctl")
    nft = tmp_path / "bin" / "nft"
    nft.write_text(f"#!/bin/sh\n[ $1 = delete ] && exit {deleted}\nexit {listed}\n")
    nft.chmod(0o755)

    def run(argv, input=""):
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    with pytest.raises(cutting.StillCut) if left else contextlib.nullcontext():
        cutting.heal(run)
    assert [call["argv"][1] for call in calls()] == ([] if left else ["stop"])


def test_a_node_that_is_still_cut_off_is_not_forgotten(place, monkeypatch):
    monkeypatch.setattr(
        place, "exec", lambda node, argv, *_, **__: subprocess.CompletedProcess(argv, 0, "still-cut\n", "")
    )
    monkeypatch.setattr(cutting, "cut_node", lambda run, addresses: None)
    place.cut("db2")
    with pytest.raises(cutting.StillCut):
        place.heal("db2")
    assert place.states()["db2"].cut


@pytest.mark.parametrize("noticed", [True, False])
def test_a_link_is_cut_when_corosync_has_noticed(place, monkeypatch, noticed):
    nodes = [
        f"  node {{\n    name: db{n}\n    nodeid: {n}\n    ring0_addr: 192.0.2.1{n}\n    ring1_addr: 198.51.100.1{n}\n  }}"
        for n in (1, 2)
    ]
    conf = "\n".join(["totem {", "  transport: knet", "}", "nodelist {", *nodes, "}", ""])
    told = "LINK ID 0 udp\n\tstatus:\n\t\tnodeid: 1:\tlocalhost\n\t\tnodeid: 2:\t{}\nLINK ID 1 udp\n\t\tnodeid: 2:\tconnected\n"
    asked = []

    def exec(node, argv, *_, **__):
        if argv[0] == "corosync-cfgtool":
            asked.append(argv)
            out = told.format("disconnected" if noticed and len(asked) > 1 else "connected")
        else:
            out = conf if argv[0] == "cat" else ""
        return subprocess.CompletedProcess(argv, 0, out, "")

    monkeypatch.setattr(place, "exec", exec)
    monkeypatch.setattr(breakage_module, "_NOTICED_WITHIN", 0.5)
    monkeypatch.setattr(breakage_module, "_NOTICED_POLL", 0.01)
    target = Target("db", "db-clone", "vip", "192.0.2.10", 0, 3307, "", {"db1": "192.0.2.11"}, "")
    with contextlib.nullcontext() if noticed else pytest.raises(HafailoverError, match="link 0 is down"):
        Breakage(place, target).cut_link("db1", 0)
    assert len(asked) >= 2


def test_a_link_is_cut_for_datagrams_alone():
    run = Script()
    cutting.cut_link(run, ["192.0.2.11"], ["192.0.2.12", "192.0.2.13"])
    drops = [line for line in run.rules.splitlines() if line.endswith("drop")]
    assert len(drops) == 2 and all("meta l4proto udp" in line and "192.0.2.11" in line for line in drops)


def test_a_cut_covers_all_links_of_the_others_and_the_quorum_device(place, monkeypatch):
    given = []
    monkeypatch.setattr(cutting, "cut_node", lambda run, addresses: given.append(addresses))
    place.cut("db2")
    assert given == [["192.0.2.11", "198.51.100.11", "192.0.2.13"]]
    assert place.states()["db2"].cut
    place.heal("db2")
    assert not place.states()["db2"].cut, "a node that cannot be reached was fenced, and has forgotten it"


def test_a_name_in_corosyncs_file_or_of_the_quorum_device_is_cut_as_well(place, monkeypatch):
    given, told = [], {"qnetd.example.org": "192.0.2.99  STREAM qnetd\n192.0.2.99  DGRAM\n127.0.1.1 STREAM\n"}
    monkeypatch.setattr(cutting, "cut_node", lambda run, addresses: given.append(addresses))
    monkeypatch.setattr(place, "_quorum_hosts", ["qnetd.example.org"])
    monkeypatch.setattr(place, "_runner", lambda node: lambda argv, input="": told.get(argv[-1], ""))
    place.cut("db2")
    assert given == [["192.0.2.11", "198.51.100.11", "192.0.2.99"]]
    place.heal("db2")
    told["qnetd.example.org"] = "127.0.1.1 STREAM qnetd\n"
    with pytest.raises(HafailoverError, match=r"qnetd.example.org has no address that could be cut off"):
        place.cut("db2")
    assert len(given) == 1 and not place.states()["db2"].cut


def test_what_a_node_writes_down_is_told_by_our_clock(place, monkeypatch):
    asked = []

    def exec(node, argv, *args, **more):
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 0, json.dumps({"__REALTIME_TIMESTAMP": "1000700000"}) + "\n", "")

    monkeypatch.setattr(place, "exec", exec)
    told = Record("db2~abcd", 1, 1_000_700_000, 1_000_700_000, "fencing", {})
    for ahead, at in ((0.7, 1_000_000_000), (-30.0, 1_030_700_000), (0.05, 1_000_700_000)):
        place.offsets = {"db2": ahead}
        assert [int(one["__REALTIME_TIMESTAMP"]) for one in place.journal("db2", 900.0)] == [at]
        assert place._by_our_clock(told).order == at
    assert [next(word for word in argv if "since" in word) for argv in asked] == [
        "--since=@900.700000",
        "--since=@870.000000",
        "--since=@900.000000",
    ]
    assert place._by_our_clock(told._replace(writer="db1~abcd")).order == told.order


@pytest.fixture
def servers(tmp_path):
    """Start a program by the name of the server in a directory of its own; the process."""
    started = []

    def start(name, program="mariadbd"):
        directory = tmp_path / name
        directory.mkdir()
        shutil.copy(shutil.which("sleep"), directory / program)
        process = subprocess.Popen([directory / program, "60"], cwd=directory)
        started.append(process)
        (directory / "server.pid").write_text(f"{process.pid}\n")
        return process, directory

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_of_several_servers_on_a_real_node_only_that_of_the_service_is_killed(place, servers, monkeypatch):
    mine, directory = servers("mine")
    other, elsewhere = servers("other")
    target = Target("db", "db-clone", "vip", "192.0.2.10", 0, 3307, "", {"db1": "192.0.2.11"}, "")
    breakage = Breakage(place, target)

    def says(file, datadir):
        monkeypatch.setattr(database, "sql", lambda place, node, text: [[str(file), str(datadir)]])

    says("server.pid", directory)
    assert breakage.signal("db1", "server", "KILL") <= time.time()
    assert mine.wait(10) == -signal.SIGKILL and other.poll() is None
    says(elsewhere / "server.pid", directory)  # a number that another server has now
    with pytest.raises(HafailoverError, match="no database server runs on db1"):
        breakage.signal("db1", "server", "KILL")
    someone, where = servers("someone", "editor")
    says(where / "server.pid", where)
    with pytest.raises(HafailoverError, match="no database server runs on db1"):
        breakage.signal("db1", "server", "KILL")
    assert other.poll() is None and someone.poll() is None


def test_a_server_is_what_runs_on_the_datadir(place, servers):
    mine, directory = servers("mine")
    elsewhere, _ = servers("elsewhere")  # as "mariadbd --version", which each start of the agent asks
    servers("editor", "editor")
    target = Target("db", "db-clone", "vip", "192.0.2.10", 0, 3307, "", {}, str(directory))
    assert Breakage(place, target).servers("db1") == [str(mine.pid)]
    dead, _ = servers("dead")
    dead.kill()
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # it stays, as one whose parent has not looked yet
    assert Breakage(place, dataclasses.replace(target, datadir=str(dead.args[0].parent))).servers("db1") == []
    anywhere = Breakage(place, dataclasses.replace(target, datadir="")).servers("db1")
    assert {str(mine.pid), str(elsewhere.pid)} <= set(anywhere) and str(dead.pid) not in anywhere


def test_programs_of_ours_are_this_very_program(monkeypatch, tmp_path):
    program = tmp_path / "hafailover"
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "drill"])
    with Reach("db1", SERVER, None) as reach:
        assert reach.run("db1", ["hafailover", "promote"], 5).stdout == "mine\n"


def test_a_program_that_hangs_is_an_error_and_not_an_answer(monkeypatch):
    monkeypatch.setattr(local, "run", lambda *args, **more: local.Result(124, "", "sleep did not answer within 1 s"))
    with Reach("db1", SERVER, None) as reach, pytest.raises(HafailoverError, match="did not answer"):
        reach.run("db1", ["sleep", "9"], 1)
