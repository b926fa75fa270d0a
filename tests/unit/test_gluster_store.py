"""What glusterd's files say, what its socket answers, and what a brick's directory shows, with files alone."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents import units
from hafailover.agents.gluster import command, logs, rpc, store
from hafailover.agents.gluster.store import Identity
from hafailover.agents.glusterd import life
from hafailover.agents.glustervolume import bricks, disk, place, sight
from hafailover.agents.ocf import OcfError
from test_ocf_agents import CHECKOUT, HEAVY, imported

INFO = """type=2
count=3
status=1
sub_count=3
replica_count=3
arbiter_count={arbiter}
volume-id=11d98784-ed9b-4c6c-95d1-8d3b6bbdf928
network.ping-timeout=10
brick-0=10.0.0.1:-b-brick
brick-1=10.0.0.2:-b-brick
brick-2=10.0.0.3:-b-brick
"""


@pytest.fixture
def glusterd(tmp_path: Path) -> Path:
    """A directory as glusterd keeps it."""
    volume = tmp_path / "vols/v"
    (volume / "bricks").mkdir(parents=True)
    (volume / "info").write_text(INFO.format(arbiter=0))
    for number in (1, 2, 3):
        text = f"uuid=u{number}\nhostname=10.0.0.{number}\npath=/b/brick\nreal_path=/b/brick\nbrick-id=v-client-{number - 1}\n"
        (volume / f"bricks/10.0.0.{number}:-b-brick").write_text(text)
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/u2").write_text("uuid=u2\nstate=3\nhostname1=files2\nhostname2=10.0.0.2\n")
    (tmp_path / "peers/u3").write_text("uuid=u3\nstate=1\nhostname1=10.0.0.3\n")
    (tmp_path / "glusterd.info").write_text("UUID=u1\noperating-version=100000\n")
    return tmp_path


def test_a_volume(glusterd: Path) -> None:
    found = store.volume("v", str(glusterd))
    assert found is not None
    assert (found.id, found.started, found.width, found.arbiter) == (
        "11d98784-ed9b-4c6c-95d1-8d3b6bbdf928", True, 3, False,
    )  # fmt: skip
    assert found.bricks[1] == ("u2", "10.0.0.2", "/b/brick", "v-client-1")
    assert store.options("v", str(glusterd))["network.ping-timeout"] == "10"
    (glusterd / "vols/v/info").write_text(INFO.format(arbiter=1).replace("status=1", "status=0"))
    changed = store.volume("v", str(glusterd))
    assert changed is not None
    assert (changed.started, changed.arbiter) == (False, True)
    assert store.volumes(str(glusterd)) == ["v"]


def test_what_the_volumes_call_this_node(glusterd: Path, tmp_path: Path) -> None:
    assert store.own_host(str(glusterd)) == "10.0.0.1"
    (glusterd / "glusterd.info").write_text("UUID=other\n")
    assert store.own_host(str(glusterd)) == ""
    (glusterd / "glusterd.info").unlink()
    assert store.own_host(str(glusterd)) == ""
    assert store.own_host(str(tmp_path / "none")) == ""


def test_bricks_of_a_node_that_the_parameters_do_not_name_are_found(
    glusterd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop after a start that failed is given the parameters of the probe before it, when the node was not in the list."""
    monkeypatch.setattr(sight.store, "own_host", lambda read=store.own_host: read(str(glusterd)))
    monkeypatch.setattr(sight.store, "volume", lambda name, _="", read=store.volume: read(name, str(glusterd)))
    params = {"nodes": "b:10.0.0.2 c:10.0.0.3", "volume": "v", "brick": "/b", "replica": "3"}
    ctx: Any = SimpleNamespace(params=params, node="a", instance="files-v")
    seen = sight.Sight(ctx)
    assert seen.address == "10.0.0.1"
    assert [brick.path for brick in seen.mine(seen.volume())] == ["/b/brick"]


def test_who_it_is_and_whom_it_knows(glusterd: Path) -> None:
    assert store.identity(str(glusterd)) == Identity("u1", "100000")
    assert store.peers(str(glusterd)) == {"u2": ["files2", "10.0.0.2"]}, (
        "one that is not yet in the pool does not count"
    )
    assert store.rejected(str(glusterd)) == {}
    (glusterd / "peers/u3").write_text("uuid=u3\nstate=6\nhostname1=10.0.0.3\n")
    assert store.rejected(str(glusterd)) == {"u3": ["10.0.0.3"]}


def test_nothing_is_there_before_its_first_start(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert store.identity(missing) == Identity()
    assert store.peers(missing) == {}
    assert store.volumes(missing) == []
    assert store.volume("v", missing) is None


def test_an_identity_is_given_back(tmp_path: Path) -> None:
    store.adopt(Identity("u1", "100000"), {"u2": "10.0.0.2"}, str(tmp_path))
    assert store.identity(str(tmp_path)) == Identity("u1", "100000")
    assert store.peers(str(tmp_path)) == {"u2": ["10.0.0.2"]}
    assert (tmp_path / "glusterd.info").stat().st_mode & 0o777 == 0o600


def answering(path: Path, answer: bytes | None) -> threading.Thread:
    """A server that takes one question; without an answer it is silent until the other side hangs up."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection, server:
            question = connection.recv(1024)
            assert question[:4] == (0x80000000 | len(question) - 4).to_bytes(4, "big")
            if answer is not None:
                connection.sendall(answer)
            else:
                connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        # As glusterd 10.3 sent it.
        (bytes.fromhex("80000038" "00000001" "00000001" "00000000" + "00" * 44), None),
        (None, "it does not answer within 0.3 s"),
        (b"", "it closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no answer"),
    ],
)  # fmt: skip
def test_a_question_to_the_daemon(tmp_path: Path, answer: bytes | None, said: str | None) -> None:
    path = tmp_path / "socket"
    thread = answering(path, answer)
    found = rpc.silence(0.3, str(path))
    thread.join(5)
    assert found is None if said is None else said in str(found)


def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in str(rpc.silence(1, str(tmp_path / "none")))


def context(answers: list[Any]) -> Any:
    deadline = SimpleNamespace(bound=lambda limit: min(limit, 60.0))
    return SimpleNamespace(run=lambda argv, timeout: answers.pop(0), deadline=deadline)


def answered(rc: int, out: str = "", err: str = "") -> Any:
    return SimpleNamespace(rc=rc, out=out, err=err, timed_out=False)


def test_a_command_waits_for_anothers_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_AGAIN", 0.0)
    busy = answered(
        1, err="volume set: failed: Another transaction is in progress for v. Please try again after some time."
    )
    unknown = answered(1, err="volume create: v: failed: Host 10.0.0.2 is not in 'Peer in Cluster' state")
    assert command.ask(context([busy, unknown, answered(0, "done")]), ["volume", "set", "v"]) == "done"
    with pytest.raises(OcfError, match=r"gluster volume create v: .*is already part of a volume"):
        command.ask(
            context([answered(1, err="failed: /b/brick is already part of a volume")]), ["volume", "create", "v"]
        )
    assert command.ask(context([answered(1, err="Volume v already started")]), ["volume"], 10, "already started") == ""


def test_the_error_that_counts_in_a_log(tmp_path: Path) -> None:
    """As glusterd 10.3 wrote it when it could not run one of its own programs."""
    log = tmp_path / "glusterd.log"
    assert logs.last_error(str(log)) == "it has no log"
    log.write_text("[2026-11-21 21:20:00 +0000] E [MSGID: 1] [a.c:1:f] 0-m: an older one\n")
    with log.open("a") as file:
        file.write(
            "[2026-11-21 21:24:28 +0000] I [MSGID: 100030] [glusterfsd.c:1:main] 0-glusterd: Started running version [{x}]\n"
        )
    assert logs.last_error(str(log)) == "its log has no error"
    with log.open("a") as file:
        file.write(
            "[2026-11-21 21:24:28 +0000] E [MSGID: 2] [b.c:2:g] 0-glusterd: module not working [Permission denied]\n"
        )
        file.write(
            "[2026-11-21 21:24:28 +0000] E [MSGID: 3] [x.c:3:h] 0-management: Initialization of volume failed. review your volfile\n"
        )
    assert logs.last_error(str(log)).endswith("0-glusterd: module not working [Permission denied]")


def test_split_brain_is_read() -> None:
    text = (
        "Brick 10.0.0.1:/b/brick\n/file\n<gfid:11d98784-ed9b-4c6c-95d1-8d3b6bbdf928>\nStatus: Connected\n"
        "Number of entries in split-brain: 2\n\nBrick 10.0.0.2:/b/brick\n/file\nStatus: Connected\n"
    )
    assert bricks.split_brain(text) == ("/file", "<gfid:11d98784-ed9b-4c6c-95d1-8d3b6bbdf928>")


def test_what_waits_to_be_healed_is_counted(tmp_path: Path) -> None:
    index = tmp_path / ".glusterfs/indices/xattrop"
    index.mkdir(parents=True)
    for name in ("xattrop-c0882e62", "723de9f3-5ff6-4700-ae55-b6ffe9006137", "823de9f3-5ff6-4700-ae55-b6ffe9006137"):
        (index / name).touch()
    entry = tmp_path / ".glusterfs/72/3d"
    entry.mkdir(parents=True)
    file = entry / "723de9f3-5ff6-4700-ae55-b6ffe9006137"
    file.touch()
    os.setxattr(file, "trusted.afr.v-client-2", bytes(8) + b"\0\0\0\1")
    os.setxattr(file, "trusted.afr.v-client-1", bytes(12))
    found = bricks.look(str(tmp_path), ["v-client-1", "v-client-2"], 10)
    assert found is not None
    assert (found.pending, found.blamed) == (2, frozenset({"v-client-2"}))
    assert found.entries == {"723de9f3-5ff6-4700-ae55-b6ffe9006137", "823de9f3-5ff6-4700-ae55-b6ffe9006137"}
    assert 0 <= found.free <= 100


@pytest.mark.parametrize(
    ("blocks", "inodes", "free"), [((50, 100), (30, 100), 30.0), ((2, 100), (99, 100), 2.0), ((50, 100), (0, 0), 50.0)]
)
def test_a_brick_without_inodes_is_as_full_as_one_without_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, int], inodes: tuple[int, int], free: float
) -> None:
    status = SimpleNamespace(f_bavail=blocks[0], f_blocks=blocks[1], f_favail=inodes[0], f_files=inodes[1])
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    found = bricks.look(str(tmp_path), [], 10)
    assert found is not None
    assert found.free == free


def test_a_pid_that_another_program_has_is_not_the_bricks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bricks, "_RUN", str(tmp_path))
    (tmp_path / "vols/v").mkdir(parents=True)
    file = tmp_path / "vols/v/10.0.0.1-b-brick.pid"
    assert bricks.pid("v", "10.0.0.1", "/b/brick") == 0
    file.write_text(f"{os.getpid()}\n")
    assert bricks.pid("v", "10.0.0.1", "/b/brick") == 0
    with subprocess.Popen(["/bin/sh", "-c", "read line", "--brick-name", "/b/brick"], stdin=subprocess.PIPE) as process:
        file.write_text(f"{process.pid}\n")
        assert bricks.pid("v", "10.0.0.1", "/b/brick") == process.pid
        assert bricks.pid("v", "10.0.0.1", "/b/brick2") == 0
        process.communicate(b"\n")
    assert bricks.pid("v", "10.0.0.1", "/b/brick") == 0


def test_bricks_that_do_not_end_are_killed() -> None:
    stubborn = ["/bin/sh", "-c", "trap '' TERM; echo; while read line; do :; done"]
    with subprocess.Popen(stubborn, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert bricks.end([process.pid], 1.0) == ([process.pid], [])


def test_the_directory_of_a_brick(tmp_path: Path) -> None:
    path = tmp_path / "brick"
    volume = "11d98784-ed9b-4c6c-95d1-8d3b6bbdf928"

    def state(known: str) -> str:
        return disk.bricks([str(path)], known)[str(path)]

    assert state(volume) == place.FRESH
    (path / ".glusterfs/00").mkdir(parents=True)
    (path / ".glusterfs/7f").mkdir()
    (path / ".glusterfs-anonymous-inode-1").mkdir()
    assert state(volume) == place.FRESH
    os.setxattr(path, "trusted.glusterfs.volume-id", bytes.fromhex(volume.replace("-", "")))
    assert state(volume) == place.KEPT
    assert state("") == place.HALF
    (path / ".glusterfs/7f/aa").mkdir()
    assert state("") == place.STRANGE
    assert state(volume) == place.KEPT


def on(tmp_path: Path, **params: object) -> Any:
    event = SimpleNamespace(event=lambda *_, **__: None)
    return SimpleNamespace(params={"fstype": "ext4", **params}, **vars(event))


def test_a_directory_becomes_a_place_and_keeps_its_mark(tmp_path: Path) -> None:
    want = place.Wanted(str(tmp_path / "deep/place"), "", "volume v on a")
    disk.prepare(on(tmp_path), want)
    assert (tmp_path / "deep/place" / place.MARK).read_text() == "volume v on a\n"
    disk.prepare(on(tmp_path), want)
    assert not disk.is_new(want.directory), "only a disk of its own is known to be new"
    with pytest.raises(OcfError, match="has the brick of volume v on a, not of volume w on a"):
        disk.prepare(on(tmp_path), want._replace(mark="volume w on a"))


def test_a_place_whose_bricks_are_begun_anew_is_marked_until_that_is_done(tmp_path: Path) -> None:
    want = place.Wanted(str(tmp_path / "place"), "", "volume v on a")
    disk.prepare(on(tmp_path), want)
    assert not disk.refilling(want.directory)
    disk.mark_refilling(want.directory, True)
    assert disk.refilling(want.directory)
    disk.prepare(on(tmp_path), want)
    disk.mark_refilling(want.directory, False)
    assert not disk.refilling(want.directory)


def test_a_mark_of_having_served_alone_tells_its_turn(tmp_path: Path) -> None:
    assert disk.ahead(str(tmp_path)) is None
    disk.mark_ahead(str(tmp_path), "a.1")
    assert disk.ahead(str(tmp_path)) == "a.1"
    disk.mark_ahead(str(tmp_path), None)
    disk.mark_ahead(str(tmp_path), None)
    assert disk.ahead(str(tmp_path)) is None


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OcfError, match=r"is not empty \(data\)"):
        disk.prepare(on(tmp_path), place.Wanted(str(tmp_path), "", "volume v on a"))
    with pytest.raises(OcfError, match=r"the brick's disk is missing: .*/none is no block device"):
        disk.prepare(on(tmp_path), place.Wanted(str(tmp_path), str(tmp_path / "none"), "volume v on a"))


@pytest.mark.parametrize(("at", "found"), [(None, "zeros"), (0, "data"), (70 << 20, "data"), ((100 << 20) - 1, "data")])
def test_bytes_on_a_disk_are_seen(tmp_path: Path, at: int | None, found: str) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(100 << 20)
        if at is not None:
            # In the middle only samples are looked at.
            file.seek(at if at in (0, (100 << 20) - 1) else (100 << 20) // 64 * 45 // 4096 * 4096)
            file.write(b"x")
    assert disk._zeros(str(image)) == found


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1", ""), ("192.0.2.1", "none of this node's: Cannot assign")])
def test_an_address_that_is_another_nodes(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    loaded = units.State("loaded", "inactive", "dead", 0, "success", 0)
    monkeypatch.setattr(units, "state", lambda ctx, names: dict.fromkeys(names, loaded))
    monkeypatch.setattr(units, "boot_warning", lambda ctx, unit: f"{unit} is enabled at boot")
    warnings: list[str] = []
    params = {"nodes": f"a:{address} b:192.0.2.2", "unit": "glusterd.service"}
    ctx: Any = SimpleNamespace(node="a", params=params, log=lambda level, text: warnings.append(text))
    if said:
        with pytest.raises(OcfError, match=f"gives a the address 192.0.2.1, which is {said}"):
            life.require(ctx)
    else:
        life.require(ctx)
        assert warnings == ["glusterd.service is enabled at boot"]


@pytest.mark.parametrize("module", ["glusterd", "glustervolume.health"])
def test_the_monitor_imports_little(module: str) -> None:
    code = "import sys; sys.modules['hafailover'] = m = type(sys)('hafailover'); m.__path__ = [sys.argv[1]]; "
    argv = [
        "/usr/bin/python3",
        "-IS",
        "-X",
        "importtime",
        "-c",
        f"{code}import hafailover.agents.{module}",
        str(CHECKOUT),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert not set(HEAVY) & imported(done.stderr)
