"""The rules of ocf:hafailover:nfsmount: the table of mounts, what is wanted, what is wrong with it, and options."""

from __future__ import annotations

import errno

import pytest
from hafailover.agents import mounts
from hafailover.agents.nfsmount import decide, mounting, options, place, wanted
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_INSTALLED
from mount_tables import BIND, DISK, NFS, ROOT


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
