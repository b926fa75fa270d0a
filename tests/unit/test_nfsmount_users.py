"""Who uses a mount, and letting go of it, in ocf:hafailover:nfsmount."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hafailover.agents import mounts
from hafailover.agents.nfsmount import release, users
from mount_tables import DISK, NFS


def test_what_lies_in_a_directory():
    assert users.inside("/a/b", "/a/b")
    assert users.inside("/a/b/c (deleted)", "/a/b")
    assert not users.inside("/a/bc", "/a/b")
    assert not users.inside("", "/a/b")


def test_users_are_found_by_links_and_maps_and_their_parents_are_spared(tmp_path):
    target = Path(os.path.realpath(tmp_path)) / "mount"
    target.mkdir()
    (target / "file").write_bytes(b"x" * 4096)
    programs = {
        "cwd": f"import os,time; os.chdir({str(target)!r}); print(1, flush=True); time.sleep(600)",
        "fd": f"import time; f=open({str(target / 'file')!r}); print(1, flush=True); time.sleep(600)",
        # The mmap module keeps a descriptor of its own.
        "mapped": f"import mmap,time,os; m=mmap.mmap(os.open({str(target / 'file')!r},0),0,prot=1); os.closerange(3,99); "
        "print(1, flush=True); time.sleep(600)",
    }
    started = {
        name: subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        for name, text in programs.items()
    }
    try:
        for process in started.values():
            process.stdout.readline()
        found = {user.pid: user.by for user in users.find(str(target), 60)}
        assert found[started["cwd"].pid] == "cwd"
        assert found[started["fd"].pid].startswith("fd ")
        assert found[started["mapped"].pid] == "mapped file"
        here = os.getcwd()
        os.chdir(target)
        try:
            assert os.getpid() not in {user.pid for user in users.find(str(target), 60)}
        finally:
            os.chdir(here)
    finally:
        for process in started.values():
            process.kill()
            process.wait()


# As Debian 12's kernel writes them: open() and close() of a file whose server is away, a flush of the state manager's own.
OPENING = """[<0>] rpc_wait_bit_killable+0xd/0x60 [sunrpc]
[<0>] nfs4_do_open+0x2a4/0xbe0 [nfsv4]
[<0>] nfs_atomic_open+0x1f6/0x6b0 [nfs]
[<0>] path_openat+0x6e5/0x1260
[<0>] do_sys_openat2+0x81/0x150
"""
ELSEWHERE = """[<0>] folio_wait_bit_common+0x130/0x300
[<0>] ext4_sync_file+0x105/0x370 [ext4]
[<0>] do_fsync+0x38/0x70
"""


def test_a_stack_in_the_nfs_client_is_told_from_others():
    assert users.in_nfs(OPENING)
    assert users.in_nfs("[<0>] folio_wait_bit_common+0x130/0x300\n[<0>] nfs_file_flush+0x7b/0xb0 [nfs]\n")
    assert not users.in_nfs(ELSEWHERE)
    assert not users.in_nfs("[<0>] svc_recv+0x6a0/0x8b0 [sunrpc]\n[<0>] svc_thread+0xc/0x30\n")
    assert not users.in_nfs("")


@pytest.mark.parametrize(
    ("stat", "sleeps"),
    [
        ("915 (a) D b) D 1 915 915 0 -1 4194304 100 0 0", True),
        ("915 (python3) S 1 915 915 0 -1 4194304 100 0 0", False),
        ("450 (10.77.0.100-man) D 2 0 0 0 -1 2129984 0 0 0", False),
        ("", False),
    ],
)
def test_only_programs_in_uninterruptible_sleep_can_hang_in_a_mount_not_the_kernels_own_threads(stat, sleeps):
    assert users.sleeps(stat) is sleeps


def test_where_a_waiting_system_call_has_its_path():
    text = "257 0xffffff9c 0x7f2a10 0x80000 0x1b6 0x0 0x0 0x7ffd5e8 0x7f21a7\n"
    assert users.arguments(text) == [0xFFFFFF9C, 0x7F2A10]
    assert users.arguments("running\n") == []
    assert users.arguments("-1 0x7ffd5e8 0x7f21a7\n") == []


def test_a_process_that_hangs_in_opening_a_file_is_found_by_the_path_that_it_gave(tmp_path):
    memory = bytearray(3 * 4096)
    memory[5000:5020] = b"/opt/st/packs/x/y\0z\0"
    memory[8190:8192] = b"/o"  # a path may end where the memory that there is ends
    for pid, stat, address in (("915", "D", 5000), ("916", "S", 5000), ("917", "D", 5004), ("918", "D", 99999999)):
        task = tmp_path / pid / "task" / pid
        task.mkdir(parents=True)
        (tmp_path / pid / "stat").write_text(f"{pid} (worker) {stat} 1 1 1 0 -1 4194304 {'0 ' * 12}777 0\n")
        (task / "stat").write_text((tmp_path / pid / "stat").read_text())
        (task / "stack").write_text(OPENING)
        (task / "syscall").write_text(f"257 0xffffff9c {address:#x} 0x0 0x0 0x0 0x0 0x0 0x0\n")
        (tmp_path / pid / "mem").write_bytes(memory)
    assert list(users.scan("/opt/st/packs", str(tmp_path))) == ["915\t777\tworker\twaits for a path in it"]
    assert {user.pid for user in users.waiting(60, str(tmp_path))} == {915, 917, 918}


def test_who_waits_in_nfs_waits_for_us_only_if_all_nfs_is_from_our_server():
    mine = mounts.parse(NFS)[0]
    same = mine._replace(source="10.0.0.9:/srv/st/virtualenvs")
    other = mine._replace(source="10.0.0.8:/home", fstype="nfs")
    disk = mounts.parse(DISK)[0]
    assert release.one_server(mine, [disk, mine, same])
    assert not release.one_server(mine, [disk, mine, other])
    assert not release.one_server(disk, [disk, mine])


@pytest.mark.parametrize("remaining", [5.0, 20.0, 60.0, 600.0])
def test_the_steps_of_a_stop_end_well_before_the_action_does(remaining):
    bounds = release.patience(remaining)
    assert bounds.all <= max(remaining * 3 / 4, 1) + 0.001
    assert all(step > 0 for step in bounds)


def test_processes_are_listed_briefly():
    many = [users.User(pid, "1", "python3", "cwd") for pid in range(1, 11)]
    assert release.listed(many[:1]) == "python3[1] (cwd)"
    assert release.listed(many).endswith("and 2 more")
