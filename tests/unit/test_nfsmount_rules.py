"""The rules of ocf:hafailover:nfsmount: the table of mounts, what is wrong with it, options, users, and work that hangs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hafailover.agents import proc
from hafailover.agents.nfsmount import child, decide, mounting, mounts, options, place, probe, release, users, wanted
from hafailover.agents.nfsmount.child import Left
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_INSTALLED

ROOT = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
NFS = "40 22 0:50 / /opt/st/packs rw,noatime shared:9 - nfs4 10.0.0.9:/srv/st/packs rw,vers=4.2,hard,addr=10.0.0.9\n"
DISK = "30 22 8:16 / /srv/st rw,noatime shared:5 - ext4 /dev/sdb rw\n"
BIND = "41 22 8:16 /packs /opt/st/packs rw,noatime shared:5 - ext4 /dev/sdb rw\n"


def want(**changes):
    parameters = {
        "server": "10.0.0.9",
        "export": "/srv/st/packs",
        "directory": "/opt/st/packs",
        "fstype": "nfs4",
        "options": None,
        "serves": None,
        "disk": None,
        **changes,
    }
    return wanted.wanted(parameters)


def bound(**changes):
    return want(serves="/srv/st/packs", disk="/srv/st", **changes)


def standing(wish, *lines):
    return decide.standing(wish, mounts.parse("".join((ROOT, *lines))))


# -- the table ----------------------------------------------------------------------------------------------------


def test_fields_are_told_apart_whatever_number_of_optional_ones_there_are():
    (none,) = mounts.parse("5 1 0:3 / /a rw - proc proc rw\n")
    (two,) = mounts.parse("5 1 0:3 / /a rw shared:1 master:2 - proc proc rw,x=1\n")
    assert (none.fstype, none.source, two.fstype, two.super_options) == ("proc", "proc", "proc", ("rw", "x=1"))


def test_octal_escapes_become_characters_and_other_backslashes_stay():
    assert mounts.unescape(r"/a\040b\011c\012d\134e\043f") == "/a b\tc\nd\\e#f"
    assert mounts.unescape(r"/a\04") == r"/a\04"
    assert mounts.unescape(r"/a\999") == r"/a\999"


def test_lines_that_are_no_mounts_are_left_out():
    assert mounts.parse("\nnonsense\n1 2 3\n") == []


def test_a_source_without_a_name_and_one_with_a_hyphen_are_read():
    (mount,) = mounts.parse("7 1 0:4 /sub /m rw - fuse.x host:/a\\040-\\040b rw\n")
    assert (mount.root, mount.source) == ("/sub", "host:/a - b")


def test_stack_is_ordered_by_parents_not_by_lines():
    top = "42 40 0:60 / /opt/st/packs rw - tmpfs tmpfs rw\n"
    table = mounts.parse(ROOT + top + NFS)
    assert [mount.id for mount in mounts.stack(table, "/opt/st/packs")] == [40, 42]
    assert mounts.visible(table, "/opt/st/packs").id == 42


def test_a_mount_over_a_parent_hides_what_is_below():
    over = "43 22 0:61 / /opt rw - tmpfs tmpfs rw\n"
    assert mounts.visible(mounts.parse(ROOT + NFS + over), "/opt/st/packs").id == 43


def test_what_is_mounted_inside_is_listed_from_the_innermost():
    inner = "50 40 0:50 /a /opt/st/packs/a rw - nfs4 x:/a rw\n51 50 0:5 / /opt/st/packs/a/b rw - tmpfs t rw\n"
    near = "52 22 0:5 / /opt/st/packs2 rw - tmpfs t rw\n"
    table = mounts.parse(ROOT + NFS + inner + near)
    assert [mount.id for mount in mounts.below(table, "/opt/st/packs")] == [51, 50]


# -- what is wanted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "export", "source"),
    [
        ("10.0.0.9", "/a", "10.0.0.9:/a"),
        ("2001:db8::9", "/a", "[2001:db8::9]:/a"),
        ("[2001:db8::9]", "/a", "[2001:db8::9]:/a"),
        ("mon1:6789,mon2:6789", "/", "mon1:6789,mon2:6789:/"),
        (None, "name", "name"),
    ],
)
def test_source(server, export, source):
    assert wanted.source(server, export) == source


@pytest.mark.parametrize(
    ("changes", "fstype", "source", "ours"),
    [
        ({}, "nfs4", "10.0.0.9:/srv/st/packs", True),
        ({}, "nfs4", "10.0.0.9:/srv/st/packs/", True),
        ({"fstype": "nfs"}, "nfs4", "10.0.0.9:/srv/st/packs", True),
        ({}, "nfs4", "10.0.0.8:/srv/st/packs", False),
        ({}, "nfs4", "10.0.0.9:/srv/st", False),
        ({}, "cifs", "10.0.0.9:/srv/st/packs", False),
        ({"fstype": "glusterfs", "export": "/vol"}, "fuse.glusterfs", "10.0.0.9:vol", True),
        ({"fstype": "fuse.labnfs"}, "fuse.labnfs", "10.0.0.9:/srv/st/packs", True),
        ({"fstype": "fuse.labnfs"}, "fuse.sshfs", "10.0.0.9:/srv/st/packs", False),
    ],
)
def test_what_counts_as_the_mount_that_is_wanted(changes, fstype, source, ours):
    (mount,) = mounts.parse(f"40 22 0:50 / /opt/st/packs rw - {fstype} {source} rw\n")
    assert wanted.is_remote(want(**changes), mount) is ours


def test_nfs_has_safe_options_by_default_and_others_have_none():
    assert want().options == ("hard", "timeo=50", "retrans=2", "noatime")
    assert want(fstype="glusterfs").options == ()
    assert want(options="ro").read_only


# -- what is wrong ------------------------------------------------------------------------------------------------


def test_nothing_there():
    assert standing(want()).state == decide.ABSENT


def test_good():
    assert standing(want(), NFS) == (decide.GOOD, "", mounts.parse(NFS)[0])


def test_wrong_source_is_named():
    found = standing(want(), NFS.replace("10.0.0.9:", "10.0.0.7:"))
    assert found.state == decide.FOREIGN
    assert found.why == "10.0.0.7:/srv/st/packs (nfs4) is mounted at /opt/st/packs instead of 10.0.0.9:/srv/st/packs"
    assert found.mount is None


def test_covered_at_its_place_and_above():
    for over in ("42 40 0:60 / /opt/st/packs rw - tmpfs tmpfs rw\n", "43 22 0:61 / /opt rw - tmpfs tmpfs rw\n"):
        found = standing(want(), NFS, over)
        assert found.state == decide.COVERED
        assert "tmpfs (tmpfs) is mounted over it at /opt" in found.why
        assert found.mount.id == 40


def test_read_only_where_it_should_be_writable():
    assert standing(want(), NFS.replace("rw,noatime", "ro,noatime")).state == decide.READ_ONLY
    assert standing(want(), NFS.replace(" rw,vers", " ro,vers")).state == decide.READ_ONLY
    assert standing(want(options="ro"), NFS.replace("rw,noatime", "ro,noatime")).state == decide.GOOD


def test_on_the_serving_node_a_bind_mount_is_right_and_a_remote_one_is_not():
    assert standing(bound(), DISK, BIND).state == decide.GOOD
    found = standing(bound(), DISK, NFS)
    assert found.state == decide.WRONG_KIND
    assert "this node serves /srv/st/packs itself now" in found.why


def test_without_serves_the_serving_node_mounts_from_itself():
    assert standing(want(), DISK, NFS).state == decide.GOOD


def test_elsewhere_the_remote_mount_is_right():
    assert standing(bound(), NFS).state == decide.GOOD


def test_a_bind_mount_that_outlives_the_disk_is_the_agents_own_and_must_go():
    found = standing(bound(), BIND)
    assert found.state == decide.WRONG_KIND
    assert "must be let go before another node uses the disk" in found.why
    assert found.mount.id == 41


def test_a_bind_mount_of_another_directory_is_foreign():
    assert standing(bound(), DISK, BIND.replace("/packs /opt", "/other /opt")).state == decide.FOREIGN


def test_a_bind_mount_of_a_disk_whose_own_mount_is_of_a_part_of_it():
    disk = DISK.replace("8:16 / ", "8:16 /@content ")
    bind = BIND.replace("8:16 /packs", "8:16 /@content/packs")
    assert standing(bound(), disk, bind).state == decide.GOOD


@pytest.mark.parametrize("path", ["/", "/opt", "/opt/stackstorm", "/opt//stackstorm/", "/usr/", "opt", "/opt/../etc"])
def test_what_nothing_may_be_mounted_over(path):
    assert decide.unmountable(path)


def test_a_directory_below_may():
    assert decide.unmountable("/opt/stackstorm/packs") is None


def test_a_hang_is_a_failure_only_after_the_time_to_ride_through():
    failed, why = decide.hung(want(), 12.4, 120)
    assert not failed
    assert why == (
        "10.0.0.9:/srv/st/packs at /opt/st/packs has not answered for 12 s; waiting up to 120 s for its server to come back"
    )
    failed, why = decide.hung(want(), 121, 120)
    assert failed
    assert "longer than ride_through=120s" in why


def test_errors_are_explained():
    assert "stale" in decide.failure("/a", errno.ESTALE, "Stale file handle")
    assert decide.failure("/a", errno.ENOSPC, "No space left on device") == "/a: No space left on device"
    assert decide.may_pass(errno.ESTALE)
    assert decide.may_pass(errno.EACCES)
    assert not decide.may_pass(errno.EIO)


# -- options, fstab, what mount says --------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["bg", "bind", "remount", "soft,hard", "ro,rw", "password=x", "noauto"])
def test_options_that_are_refused(word):
    assert options.refusal(word.split(","))


def test_options_that_are_allowed():
    assert options.refusal(["hard", "vers=4.2", "sec=krb5p"]) is None


@pytest.mark.parametrize(("words", "about"), [("soft", "lost"), ("proto=udp", "corrupt"), ("nolock", "same lock")])
def test_dangerous_options_are_allowed_with_a_warning(words, about):
    (said,) = options.warnings("nfs4", words.split(","))
    assert about in said
    assert options.warnings("glusterfs", words.split(",")) == []


def test_the_agent_tries_again_itself():
    assert options.arguments("nfs4", ["hard"]) == ["-o", "hard,retry=0"]
    assert options.arguments("nfs4", ["hard", "retry=3"]) == ["-o", "hard,retry=3"]
    assert options.arguments("glusterfs", []) == []


def test_fstab_that_mounts_it_too():
    line = "10.0.0.9:/x /opt/st/packs nfs4 {} 0 0\n"
    assert "at boot" in options.at_boot(line.format("hard"), "/opt/st/packs")
    assert "systemd" in options.at_boot(line.format("noauto,x-systemd.automount"), "/opt/st/packs")
    assert options.at_boot(line.format("noauto"), "/opt/st/packs") is None
    assert options.at_boot("# " + line.format("hard"), "/opt/st/packs") is None
    assert options.at_boot(line.format("hard"), "/opt/st/virtualenvs") is None


@pytest.mark.parametrize(
    ("said", "code", "refused"),
    [
        ("mount: /a: unknown filesystem type 'nfs4'.", ERR_INSTALLED, False),
        ("mount.nfs4: an incorrect mount option was specified", ERR_CONFIGURED, False),
        ("mount.nfs4: access denied by server while mounting x:/a", None, True),
        ("mount.nfs4: mounting x:/a failed, reason given by server: No such file or directory", None, True),
        ("mount.nfs4: Connection refused", None, False),
    ],
)
def test_what_mount_says_is_understood(said, code, refused):
    assert mounting.final(said) == code
    assert mounting.refused(said) is refused


def test_a_missing_mount_program_is_named_with_its_package():
    with pytest.raises(place.OcfError) as raised:
        place.require_helper("glusterfs-that-is-not")
    assert raised.value.rc == ERR_INSTALLED
    assert "no program mount.glusterfs-that-is-not" in raised.value.reason


# -- work that hangs ----------------------------------------------------------------------------------------------


def test_a_child_answers():
    assert child.ask(lambda: "yes", 10).text == "yes"


def test_an_error_of_the_kernel_comes_back_with_its_number():
    answer = child.ask(lambda: str(os.stat("/nonexistent")), 10)
    assert child.error(answer.text) == (errno.ENOENT, "No such file or directory")


def test_a_child_that_hangs_is_killed_and_waited_for_no_longer_than_asked():
    begun = time.monotonic()
    answer = child.ask(lambda: time.sleep(600) or "", 0.2)
    assert answer == (None, None)
    assert time.monotonic() - begun < 60


def test_lines_that_came_before_the_hang_are_not_lost():
    def work():
        yield "one"
        yield "two"
        time.sleep(600)

    assert child.lines(work, 0.5) == ["one", "two"]


def test_a_child_that_even_kill_does_not_end_is_left_and_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path))
    (mount,) = mounts.parse(NFS)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        left = Left(sleeper.pid, proc.started(sleeper.pid))
        asked = []
        monkeypatch.setattr(child, "ask", lambda work, seconds: asked.append(1) or child.Answer(None, left))
        first = probe.look("r", mount, 0, 5)
        assert first.silent is not None
        second = probe.look("r", mount, 0, 5)
        assert second.silent >= first.silent
        assert asked == [1], "no second child while the first one hangs"
        other = mount._replace(id=99)
        assert probe.look("r", other, 0, 5).silent is not None
        assert asked == [1, 1], "another mount is asked anew"
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()
        monkeypatch.setattr(child, "ask", lambda work, seconds: child.Answer("answers", None))
        back = probe.look("r", other, 0, 5)
        assert back.silent is None
        assert back.before > 0
        probe.forget("r")
        assert probe.look("r", other, 0, 5).before == 0
    finally:
        sleeper.kill()


def test_a_child_that_ends_without_an_answer_is_no_good_news(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(child, "ask", lambda work, seconds: child.Answer("", None))
    assert probe.look("r", mounts.parse(NFS)[0], 0, 5).error == errno.EIO


def test_a_probe_of_a_directory_that_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path / "run"))
    mount = mounts.parse(NFS)[0]._replace(point=str(tmp_path))
    assert probe.look("r", mount, probe.WRITE, 30, "n1") == (None, 0.0, 0, "")
    assert os.listdir(tmp_path) == []
    gone = mount._replace(point=str(tmp_path / "gone"))
    assert probe.look("r", gone, 0, 30).error == errno.ENOENT


# -- who uses it, and letting go --------------------------------------------------------------------------------------


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
