"""Facts about the host, read from text: cgroups, processes, names, images, health."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant import cgroups, health, host, image

HYBRID = """\
30 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 30 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:28 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
34 31 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 31 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
UNIFIED = "31 30 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_hierarchies_of_a_hybrid_host():
    found = {(h.name, str(h.mount)) for h in cgroups.parse_mounts(HYBRID)}
    assert found == {
        ("", "/sys/fs/cgroup/unified"),
        ("name=systemd", "/sys/fs/cgroup/systemd"),
        ("memory", "/sys/fs/cgroup/memory"),
    }


def test_hierarchy_of_a_pure_v2_host():
    assert [(h.name, str(h.mount)) for h in cgroups.parse_mounts(UNIFIED)] == [("", "/sys/fs/cgroup")]


def test_no_hierarchy():
    assert cgroups.parse_mounts(HYBRID.splitlines()[0]) == []


def test_a_process_of_no_lab_is_a_member_of_none():
    assert not cgroups.member(os.getpid(), "nosuchlab")
    assert not cgroups.member(2**22 - 1, "nosuchlab")


@pytest.mark.parametrize("name", ["a", "lab-2", "x" * 24])
def test_good_names(name):
    assert host.check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "2lab", "a/b", "..", "a_b", "x" * 25, "a\n"])
def test_bad_names(name):
    with pytest.raises(UsageError, match="allowed are"):
        host.check_name(name)


def test_run_kills_the_whole_group_at_its_deadline():
    began = time.monotonic()
    with pytest.raises(HafailoverError, match=r"no answer within 0\.3 s"):
        host.run(["sh", "-c", "sleep 77 & sleep 77"], timeout=0.3)
    assert time.monotonic() - began < 5


def test_run_tells_what_failed():
    with pytest.raises(HafailoverError, match="exit code 3: second / third"):
        host.run(["sh", "-c", "echo second >&2; echo third >&2; exit 3"], timeout=5)


def test_run_hides_the_callers_environment(monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "secret")
    assert "secret" not in host.run(["env"], timeout=5).stdout


def test_a_process_is_not_its_pids_next_owner():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = host.start_time(child.pid)
    assert not host.kill(child.pid, started + 1)
    assert child.poll() is None
    assert host.kill(child.pid, started, signal.SIGTERM)
    assert child.wait(timeout=5) == -signal.SIGTERM
    assert host.start_time(child.pid) is None
    assert not host.kill(child.pid, started)


def test_wait_names_what_did_not_come():
    with pytest.raises(HafailoverError, match=r"the sun rises: not within 0\.1 s"):
        host.wait("the sun rises", 0.1, lambda: None, 0.01)


def test_package_lists():
    text = "# comment\nalpha\nbeta [bookworm]  # why\ngamma [trixie sid]\n\n"
    assert image.parse_packages(text, "bookworm") == ["alpha", "beta"]
    assert image.parse_packages(text, "sid") == ["alpha", "gamma"]


def test_every_package_set_can_be_read():
    for name in image.package_sets():
        assert image.packages("bookworm", [name])


def test_an_unknown_package_set():
    with pytest.raises(UsageError, match="no package set 'nosuch'; there are apache, cluster, "):
        image.packages("bookworm", ["nosuch"])


def test_the_cache_entry_follows_the_content(monkeypatch):
    entry = image.entry("bookworm", ["cluster"])
    assert entry == image.entry("bookworm", ["cluster"])
    assert entry.name.startswith("bookworm-cluster-")
    assert entry != image.entry("trixie", ["cluster"])
    monkeypatch.setattr(image, "packages", lambda suite, sets: ["other"])
    assert entry != image.entry("bookworm", ["cluster"])


def test_what_is_run_before_a_package_is_installed_is_content(monkeypatch):
    tomcat, plain = ["cluster", "tomcat"], ["cluster"]
    entries = image.entry("bookworm", tomcat), image.entry("bookworm", plain)
    monkeypatch.setitem(image._HOOKS, "tomcat10", "something else")
    assert entries[0] != image.entry("bookworm", tomcat)
    assert entries[1] == image.entry("bookworm", plain)


def test_only_debian_sources_are_used():
    text = "\n".join(
        [
            "Debian|http://mirror.example/debian/|bookworm|main|amd64",
            "Debian|http://mirror.example/debian/|bookworm-updates|main|amd64",
            "Debian|http://mirror.example/debian/|bookworm-backports|main|amd64",
            "Debian|http://mirror.example/security/|bookworm-security|main|amd64",
            "Debian|http://mirror.example/debian/|bookworm|main|all",
            "Vendor|http://vendor.example/apt/|bookworm|main|amd64",
        ]
    )
    found = image.parse_targets(text)
    assert [source.suite for source in found] == ["bookworm", "bookworm-updates", "bookworm-security"]
    assert [source.suite for source in image.for_suite(found, "trixie")] == [
        "trixie",
        "trixie-updates",
        "trixie-security",
    ]


def test_apt_settings_that_reach_the_archive():
    dump = 'Acquire "";\nAcquire::http::Proxy "http://p:1";\nAcquire::Check-Valid-Until "false";\nAPT::Get::X "1";'
    assert image.apt_settings(dump) == ['Acquire::http::Proxy "http://p:1";', 'Acquire::Check-Valid-Until "false";']


def report(dc='<current_dc present="true" with_quorum="true"/>', nodes="", resources=""):
    return f"<r><summary>{dc}</summary><nodes>{nodes}</nodes><resources>{resources}</resources></r>"


ONLINE = '<node name="{}" online="true" pending="false" unclean="false" standby="false" maintenance="false"/>'
RESOURCE = '<resource id="{}" role="{}" active="{}" failed="{}"/>'


def test_a_healthy_report():
    nodes = ONLINE.format("a") + ONLINE.format("b")
    clone = '<clone id="db-clone" multi_state="true">{}{}</clone>'.format(
        RESOURCE.format("db", "Promoted", "true", "false"), RESOURCE.format("db", "Unpromoted", "true", "false")
    )
    assert health.judge(report(nodes=nodes, resources=clone), ["a", "b"]) == []
    looked_for = RESOURCE.format("files", "Stopped", "false", "false").replace("/>", ' orphaned="true"/>')
    assert health.judge(report(nodes=nodes, resources=clone + looked_for), ["a", "b"]) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dc": '<current_dc present="false"/>', "nodes": ONLINE.format("a")}, "no DC has been elected"),
        ({"dc": '<current_dc present="true" with_quorum="false"/>', "nodes": ONLINE.format("a")}, "no quorum"),
        ({"nodes": ""}, "a is not online"),
        ({"nodes": ONLINE.format("a").replace('unclean="false"', 'unclean="true"')}, "a is unclean"),
        ({"nodes": ONLINE.format("a"), "resources": RESOURCE.format("vip", "Stopped", "false", "false")}, "vip is not"),
        (
            {"nodes": ONLINE.format("a"), "resources": RESOURCE.format("vip", "Started", "true", "true")},
            "vip has failed",
        ),
        ({"nodes": ONLINE.format("a"), "resources": RESOURCE.format("db", "Promoting", "true", "false")}, "Promoting"),
        (
            {
                "nodes": ONLINE.format("a"),
                "resources": '<clone id="c" multi_state="true">'
                + RESOURCE.format("db", "Unpromoted", "true", "false")
                + "</clone>",
            },
            "c has no promoted instance",
        ),
    ],
)
def test_what_is_wrong(given, said):
    assert any(said in problem for problem in health.judge(report(**given), ["a"]))


def test_a_host_that_allows_few_machines_is_told_to_allow_more(monkeypatch, tmp_path):
    limit = tmp_path / "max_user_instances"
    monkeypatch.setattr(host, "_INOTIFY", limit)
    said: list[str] = []
    for before, after, told in (("128\n", "1024", "1024 instead of 128"), ("4096\n", "4096", None)):
        limit.write_text(before)
        host.allow_inotify(said.append)
        assert limit.read_text().strip() == after
        assert [told in line for line in said] == ([True] if told else [])
        said.clear()


def test_a_host_that_cannot_allow_more_machines_is_named(monkeypatch, tmp_path):
    limit = tmp_path / "max_user_instances"
    limit.symlink_to("/proc/sys/kernel/cap_last_cap")  # 40, and read-only for everybody
    monkeypatch.setattr(host, "_INOTIFY", limit)
    said: list[str] = []
    host.allow_inotify(said.append)
    assert len(said) == 1
    assert "will not boot" in said[0]
