import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from golden import check
from hafailover.crm import corosync, files, install_files, mariadb_options, render, topology
from hafailover.crm.commands import generate as generate_command
from hafailover.crm.commands import render as render_command
from hafailover.crm.errors import HafailoverError, UsageError
from topologies import BASE, EXAMPLES, changed, invoke, parse

PROGRAM = Path(__file__).parents[2] / "bin" / "hafailover"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "t.yml"
    path.write_text(BASE)
    return path


@pytest.fixture
def secrets(tmp_path):
    directory = tmp_path / "s"
    directory.mkdir()
    secret = directory / "db-replication"
    secret.write_text("not telling\n")
    secret.chmod(0o600)
    return directory


def rendered(file, node="db1"):
    return {found.path: found for found in render.render(topology.load(file), node)}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_corosync_conf_is_what_was_reviewed(path):
    check(f"{path.stem}.corosync.conf", corosync.text(topology.load(path)))


def test_the_server_configuration_is_what_was_reviewed(file, secrets):
    file.write_text(
        changed(
            (
                "mariadb}",
                'mariadb, options: {Max-Connections: 500, sync_binlog: 1, init_file: "/a b#c", read-only: ON}}',
            )
        )
    )
    check("hafailover-db.cnf", rendered(file, "db2")["/etc/mysql/hafailover-db.cnf"].content.decode())


def test_all_files_of_a_node_with_owner_and_mode(file, secrets):
    file.write_text(
        changed(
            ("encryption: off", "authkey: file:key"),
            ("id: 1,", "id: 1, fence: {agent: fence_x, password: file:ipmi},"),
        )
    )
    for name, content in (("key", bytes(range(128))), ("ipmi", b"it's $HOME")):
        (secrets / name).write_bytes(content)
        (secrets / name).chmod(0o600)
    found = rendered(file)
    assert {path: (one.mode, one.secret) for path, one in found.items()} == {
        "/etc/corosync/authkey": (0o400, True),
        "/etc/corosync/corosync.conf": (0o644, False),
        "/etc/hafailover/alerts.json": (0o644, False),
        "/etc/hafailover/db.cred": (0o600, True),
        "/etc/hafailover/external.json": (0o644, False),
        "/etc/hafailover/fence-db1-password": (0o700, True),
        "/etc/hafailover/firewall.nft": (0o644, False),
        "/etc/hafailover/hooks.json": (0o600, False),
        "/etc/hafailover/hosts": (0o644, False),
        "/etc/hafailover/topology.yml": (0o644, False),
        "/etc/mysql/hafailover-db.cnf": (0o644, False),
    }
    assert {(one.owner, one.group) for one in found.values()} == {("root", "root")}
    assert found["/etc/hafailover/db.cred"].content == b"[replication]\nuser=hafailover_repl\npassword=not telling\n"
    assert found["/etc/hafailover/topology.yml"].content == file.read_bytes()
    assert found["/etc/corosync/authkey"].content == bytes(range(128))
    assert b"10.77.0.12\tdb2" in found["/etc/hafailover/hosts"].content
    script = found["/etc/hafailover/fence-db1-password"].content
    printed = subprocess.run(["sh"], input=script, capture_output=True, check=True, timeout=10).stdout
    assert printed == b"it's $HOME\n"


def test_each_node_has_its_own_server_id_and_the_address_family_of_its_links(file, secrets):
    assert b"server_id = 2\n" in rendered(file, "db2")["/etc/mysql/hafailover-db.cnf"].content
    text = changed(("10.77.0.11", "fd00::b"), ("10.77.0.12", "fd00::c"), ("10.77.0.100/24", "fd00::64/64"))
    file.write_text(text)
    assert b"bind_address = ::\n" in rendered(file)["/etc/mysql/hafailover-db.cnf"].content


def test_safety_comes_last_so_that_an_abbreviated_option_cannot_undo_it():
    loaded = parse(changed(("mariadb}", "mariadb, options: {sync_binlo: 0, binlog_forma: MIXED}}")))
    lines = mariadb_options.defaults_file(loaded.services["db"], loaded.nodes["db1"]).splitlines()
    assert lines.index("sync_binlo = 0") < lines.index("sync_binlog = 1")
    assert lines.index("binlog_forma = MIXED") < lines.index("binlog_format = ROW")
    assert not any(line.startswith("rpl_semi_sync_slave") for line in lines)


def test_a_node_that_is_not_there(file, secrets):
    with pytest.raises(UsageError, match=r"t\.yml: unknown node 'db3'; allowed: db1, db2"):
        rendered(file, "db3")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0, "cannot be read: No such file or directory; create it with mode 0600, or let --create-secrets do it"),
        (b"x\n", 0o644, "can be read by others; chmod 0600 it"),
        (b"", 0o600, "must hold one line of text"),
        (b"a\nb\n", 0o600, "must hold one line of text"),
        (b"\xff\xfe", 0o600, "must hold one line of text"),
        (b"x" * 5000, 0o600, "is longer than 4096 bytes, which no secret is"),
    ],
)
def test_a_secret_that_cannot_be_used(file, secrets, content, mode, said):
    secret = secrets / "db-replication"
    secret.unlink()
    if content is not None:
        secret.write_bytes(content)
        secret.chmod(mode)
    with pytest.raises(UsageError) as caught:
        rendered(file)
    assert str(caught.value) == f"{file}: services.db.replication.password: file:db-replication: {secret} {said}"


def test_a_secret_that_is_a_directory(file, secrets):
    (secrets / "db-replication").unlink()
    (secrets / "db-replication").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        rendered(file)


def test_a_key_of_the_wrong_length(file, secrets):
    file.write_text(changed(("encryption: off", "authkey: file:db-replication")))
    with pytest.raises(
        UsageError, match=r"cluster\.authkey: file:db-replication has 12 bytes; Corosync wants 128 to 4096"
    ):
        rendered(file)


def test_secrets_that_only_the_cluster_needs_are_made_once(file):
    file.write_text(
        changed(
            ("encryption: off", "authkey: file:key"), ("id: 1,", "id: 1, fence: {agent: fence_x, password: file:ipmi},")
        )
    )
    loaded = topology.load(file)
    made = render.create_secrets(loaded)
    assert [path.name for path in made] == ["key", "db-replication"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert [len(path.read_bytes()) for path in made] == [256, 49]
    assert render.create_secrets(loaded) == []
    with pytest.raises(
        UsageError, match=r"nodes\.db1\.fence\.password: file:ipmi: .* directory; create it with mode 0600$"
    ):
        render.render(loaded, "db1")


def test_a_directory_of_secrets_that_is_closed_to_this_user(file, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)
    with pytest.raises(
        UsageError, match=r"password: file:db-replication: .*/s/db-replication cannot be read: Permission denied"
    ):
        render.create_secrets(parse(file.read_text()).with_secrets_dir(file.parent / "s"))


def test_a_quorum_device_is_not_slower_than_corosync():
    # Up to 1.2 times the device's timeout pass until the arbiter decides; Corosync needs 2.2 times token.
    for token, expected in (("1s", 1800), ("3s", 5400), ("500ms", 1250), ("20s", 10000)):
        text = corosync.text(parse(changed(("encryption: off", f"encryption: off, detection: {{token: {token}}}"))))
        assert f"        timeout: {expected}\n" in text
    assert "        timeout: 4000\n" in corosync.text(parse(changed(("tls: off", "tls: off, timeout: 4s"))))


@pytest.mark.parametrize(
    ("change", "timeout"),
    [
        (("encryption: off", "encryption: off, detection: fast"), 600),
        (("tls: off", "tls: off, timeout: 800ms"), 800),
    ],
)
def test_a_device_that_beats_faster_than_its_daemons_allow_gets_an_option_for_both(change, timeout):
    wanted = parse(changed(change))
    assert f"        timeout: {timeout}\n" in corosync.text(wanted)
    for name, daemon in (("db1", "corosync-qdevice"), (wanted.quorum.device.host, "corosync-qnetd")):
        path = f"/etc/systemd/system/{daemon}.service.d/hafailover.conf"
        (drop_in,) = [file for file in render.render(wanted, name, lambda reference: b"x" * 128) if file.path == path]
        assert b"heartbeat_interval_min=100\n" in drop_in.content
        # What an administrator has written into /etc/default stays.
        assert f"{daemon} -f ${daemon.upper().replace('-', '_')}_OPTIONS ".encode() in drop_in.content
    (note,) = [note for note in render.notes(wanted) if "corosync-qnetd" in note]
    assert wanted.quorum.device.host in note


def test_a_device_with_the_daemons_own_pace_gets_no_option():
    for text in (changed(), changed(("encryption: off", "encryption: off, detection: {token: 500ms}"))):
        wanted = parse(text)
        found = [*render.render(wanted, wanted.quorum.device.host), *corosync.node_daemon(wanted)]
        assert not [file for file in found if file.path.startswith("/etc/systemd")]
        assert not [note for note in render.notes(wanted) if "corosync-qnetd" in note]


def test_detection_is_written_for_every_link():
    text = corosync.text(
        parse(
            changed(("encryption: off", "detection: {token: 300ms, token_coefficient: 0ms, knet_ping_interval: 500ms}"))
        )
    )
    assert text.count("knet_ping_interval: 500") == 2
    assert "token_coefficient: 0\n" in text
    assert "crypto_cipher: aes256" in text


# Writing files.
def test_writing_replaces_at_once_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "a" / "b"
    files.write(target, b"one", 0o640)
    inode = target.stat().st_ino
    files.write(target, b"two", 0o600)
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_ino != inode
    assert os.listdir(target.parent) == ["b"]


def test_writing_does_not_follow_a_link_out_of_the_directory(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    link = tmp_path / "d" / "link"
    link.parent.mkdir()
    link.symlink_to(outside)
    files.write(link, b"new", 0o600)
    assert outside.read_text() == "mine"
    assert not link.is_symlink()


def test_what_cannot_be_written_is_said_and_the_old_file_stays(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(HafailoverError, match=r"file/below: cannot be written: "):
        files.write(tmp_path / "file" / "below", b"", 0o600)
    with pytest.raises(HafailoverError, match="there is no user nobody-here on this machine"):
        files.write(tmp_path / "file", b"new", 0o600, "nobody-here")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_of_others_is_kept_as_it_was_before_the_first_change(tmp_path):
    target = tmp_path / "etc/x.conf"
    target.parent.mkdir()
    target.write_bytes(b"one")
    target.chmod(0o640)
    copy = install_files.keep_first(target, tmp_path / "root")
    assert copy == tmp_path / "root/var/lib/hafailover/originals" / str(target)[1:]
    assert copy.read_bytes() == b"one"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "root/var/lib/hafailover/originals").stat().st_mode) == 0o700
    target.write_bytes(b"two")
    assert install_files.keep_first(target, tmp_path / "root") is None
    assert copy.read_bytes() == b"one"
    assert install_files.keep_first(tmp_path / "nothing", tmp_path / "root") is None


# The commands.
def test_without_a_destination_files_are_listed(file, secrets):
    result = invoke(render_command.command, file)
    assert result.exit_code == 0
    assert "db2: /etc/hafailover/db.cred 0600 root:root" in result.stdout
    assert result.stdout.splitlines()[-1] == "10.77.0.13: /etc/hafailover/firewall-c1.nft 0644 root:root"
    alone = invoke(render_command.command, file, "--node", "10.77.0.13")
    assert alone.stdout == "10.77.0.13: /etc/hafailover/firewall-c1.nft 0644 root:root\n"
    assert not list(file.parent.glob("db*"))


def test_output_writes_each_nodes_files_with_their_modes_and_only_once(file, tmp_path):
    out = tmp_path / "out"
    first = invoke(render_command.command, file, "--output", out, "--create-secrets")
    assert first.exit_code == 0, first.stderr
    assert f"created {file.parent}/s/db-replication" in first.stderr
    assert stat.S_IMODE((out / "db1/etc/hafailover/db.cred").stat().st_mode) == 0o600
    assert (out / "db2/etc/corosync/corosync.conf").exists()
    assert [path.name for path in (out / "10.77.0.13").rglob("*") if path.is_file()] == ["firewall-c1.nft"]
    assert "tcp dport 5403" in (out / "10.77.0.13/etc/hafailover/firewall-c1.nft").read_text()
    assert invoke(render_command.command, file, "--output", out).stdout == ""


def test_a_difference_is_shown_without_secrets(file, secrets, tmp_path):
    out = tmp_path / "out"
    invoke(render_command.command, file, "--output", out)
    file.write_text(changed(("mariadb}", "mariadb, port: 3307}")))
    (secrets / "db-replication").write_text("hunter2\n")
    result = invoke(render_command.command, file, "--output", out, "--diff", "--node", "db1")
    assert "-port = 3306\n+port = 3307\n" in result.stdout
    assert "/etc/hafailover/db.cred: changes (a secret, not shown)" in result.stdout
    assert "hunter2" not in result.stdout
    assert b"port = 3307" in (out / "db1/etc/mysql/hafailover-db.cnf").read_bytes()


def test_a_difference_to_what_is_no_file_is_an_error_and_no_crash(file, secrets, tmp_path):
    (tmp_path / "out/db1/etc/hafailover/db.cred").mkdir(parents=True)
    result = invoke(render_command.command, file, "--output", tmp_path / "out", "--diff")
    assert isinstance(result.exception, HafailoverError)
    assert str(result.exception).endswith("etc/hafailover/db.cred: cannot be read: Is a directory")


def program(*arguments):
    return subprocess.run(
        ["/usr/bin/python3", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_exit_codes_and_no_traceback(file, tmp_path):
    file.write_text(changed(("id: 2", "id: two")))
    for command in (("generate",), ("render",), ("apply",)):
        result = program(*command, str(file))
        assert result.returncode == 2
        assert result.stdout == ""
        first, *shown = result.stderr.splitlines()
        assert first == f"hafailover: {file}:6:13: nodes.db2.id: is 'two'; write a whole number from 1 to 65535"
        assert [line[:8] for line in shown] == ["    6 | ", "      | "]
    both = program("render", str(file), "--output", str(tmp_path), "--install")
    assert (both.returncode, both.stderr.count("\n")) == (2, 1)
    assert "exclude each other" in both.stderr


def test_this_machine_is_none_of_the_nodes(file, secrets):
    result = program("render", str(file), "--install")
    assert result.returncode == 2
    assert "name the node with --node" in result.stderr


@pytest.mark.parametrize("form", ["cib", "crmsh"])
def test_generate_prints_only_the_configuration(file, form):
    result = invoke(generate_command.command, file, "--format", form)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith("<cib " if form == "cib" else "primitive vip ")
