"""The service type glusterfs: what is generated from a topology, what is refused and what is only said, with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hafailover.agents.glusterd import agent as daemon_agent
from hafailover.agents.glustervolume import agent as volume_agent
from hafailover.agents.nfsmount import agent as mount_agent
from hafailover.crm import generate, render, validate
from hafailover.crm.commands import generate as generate_command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.model import Configuration
from hafailover.crm.service import service_types
from hafailover.vagrant import adapt
from hafailover.vagrant.plan import OwnDisk, Plan
from topologies import EXAMPLES, changed, invoke, parse

FILES = "services:\n  files: {{type: glusterfs, volumes: {{content: {{{volume}}}}}{more}}}\n"
THIRD = ("quorum: {device: {host: 10.77.0.13, tls: off}}", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}")
MOUNT = "mount: /srv/content"


def made(volume: str = MOUNT, *more: tuple[str, str], keys: str = "") -> str:
    return changed(("services:\n", FILES.format(volume=volume, more=keys)), *more)


def configuration(text: str) -> Configuration:
    found = generate.configuration(parse(text))
    assert validate.validate(cib.tree(found), "t.yml") is None
    return found


def params(found: Configuration, resource: str) -> dict[str, str]:
    primitive = next(one for one in found.primitives() if one.id == resource)
    return {pair.name: pair.value or "" for one in primitive.sets("instance_attributes") for pair in one.pairs}


def environ(values: dict[str, str]) -> dict[str, str]:
    return {f"OCF_RESKEY_{name}": value for name, value in values.items()}


def test_three_clones_tied_for_starts_alone() -> None:
    found = configuration(made(MOUNT, THIRD))
    text = crmsh.text(found)
    for first, then in (("files-clone", "files-content-clone"), ("files-content-clone", "files-content-mount-clone")):
        assert f"Mandatory: {first}:start {then}:start symmetrical=false" in text
        assert f"Optional: {then}:stop {first}:stop symmetrical=false" in text
    assert 'attribute="files-content-ready" operation="not_defined"' in text
    for name, agent in (
        ("files", daemon_agent),
        ("files-content", volume_agent),
        ("files-content-mount", mount_agent),
    ):
        agent.context("start", environ(params(found, name)), 10)
    assert params(found, "files-content")["nodes"] == "db1:10.77.0.11 db2:10.77.0.12 db3:10.77.0.14"


@pytest.mark.parametrize(
    ("volume", "third", "replica", "quorum"),
    [
        (MOUNT, False, "2", "none"),
        (MOUNT, True, "3", "auto"),
        ("replica: 2", True, "2", "none"),
        ("replica: arbiter", True, "arbiter", "auto"),
    ],
)
def test_copies(volume: str, third: bool, replica: str, quorum: str) -> None:
    found = params(configuration(made(volume, *([THIRD] if third else []))), "files-content")
    assert found["replica"] == replica
    assert f"cluster.quorum-type={quorum}" in found["options"].split()


def test_two_copies_are_allowed_and_their_risk_is_said(tmp_path: Path) -> None:
    (note,) = render.service_notes(parse(made()))
    assert "files: volume content has two copies" in note
    assert "split-brain" in note
    assert "replica: arbiter" in note
    assert render.service_notes(parse(made(MOUNT, THIRD))) == []
    file = tmp_path / "t.yml"
    file.write_text(made())
    shown = invoke(generate_command.command, file)
    assert "note: files: volume content has two copies" in shown.stderr


def test_options_of_ones_own() -> None:
    volume = "clients: [192.0.2.*], ping_timeout: 5s, options: {performance.cache-size: 64MB, features.shard: true}"
    words = params(configuration(made(volume)), "files-content")["options"].split()
    assert "network.ping-timeout=5" in words
    assert "auth.allow=10.77.0.11,10.77.0.12,127.0.0.1,192.0.2.*" in words
    assert "performance.cache-size=64MB" in words
    assert "features.shard=on" in words


def test_what_comes_after_waits_for_the_mount() -> None:
    topology = parse(made(MOUNT, ("  db: {type: mariadb}", "  db: {type: mariadb, after: [files]}")))
    assert (
        "order db-clone-after-files-content-mount-clone Mandatory: files-content-mount-clone:start db-clone:start"
        in crmsh.text(generate.configuration(topology))
    )
    kind = service_types()["glusterfs"]
    bare = parse(made(""))
    assert kind.anchor(bare.services["files"], None).resource == "files-content-clone"


def test_several_volumes_share_the_daemon_and_are_mounted_one_after_the_other() -> None:
    """Each waits for its own volume alone: one that is added must not have the others unmounted until it is ready."""
    text = made(MOUNT).replace("content: {mount: /srv/content}", "a: {mount: /srv/a}, b: {mount: /srv/b}, c: {}")
    found = configuration(text)
    said = crmsh.text(found)
    for name in "ab":
        rules = [line for line in said.splitlines() if f'rsc="files-{name}-mount-clone"' in line]
        assert len(rules) == 1
        assert f'attribute="files-{name}-ready"' in rules[0]
    assert "inf: files-b-mount-clone files-a-mount-clone" in said
    assert "Mandatory: files-a-mount-clone:start files-b-mount-clone:start" in said
    assert "files-c-mount" not in said
    assert [one.id for one in found.primitives() if one.agent_name.endswith("glusterd")] == ["files"]


def test_stackstorms_content_may_lie_on_volumes() -> None:
    (example,) = [path for path in EXAMPLES if path.stem == "stackstorm-stateless"]
    text = example.read_text()
    begin, end = text.index("  mnt:\n"), text.index("  workers:\n")
    volumes = "packs: {mount: /opt/stackstorm/packs}, virtualenvs: {mount: /opt/stackstorm/virtualenvs}"
    text = f"{text[:begin]}  mnt: {{type: glusterfs, volumes: {{{volumes}}}}}\n{text[end:]}"
    found = crmsh.text(configuration(text))
    assert "Mandatory: mnt-virtualenvs-mount-clone:start workers-clone:start" in found
    assert "Mandatory: mnt-virtualenvs-mount-clone:start single:start" in found
    assert "inf: single mnt-virtualenvs-mount-clone" in found, "the singletons run where the content is mounted"
    assert 'watch="mnt-packs-mount=content mnt-virtualenvs-mount=content"' in found, (
        "they begin anew when it is mounted again"
    )


@pytest.mark.parametrize(
    ("volume", "keys", "said"),
    [
        ("replica: 3", "", "3 copies needs 3 nodes, and there are 2; name more nodes in on, or choose replica: 2"),
        ("replica: arbiter", "", "an arbiter needs 3 nodes, and there are 2"),
        ("", ", on: [db1]", "2 nodes, and there are 1|3 copies needs 3 nodes, and there are 1"),
        ("replica: 4", "", "allowed: 2, 3, arbiter"),
        ("ping_timeout: 1s", "", "write whole seconds from 2s to 2m"),
        ("ping_timeout: 2500ms", "", "write whole seconds from 2s to 2m"),
        ("options: {auth.allow: '*'}", "", "is set by the service"),
        ("mount: /etc", "", "/etc is "),
        ("mount: /srv/gluster/content/x", "", "lie in one another"),
        ("mount_options: ro", "", "is for a mount, and there is none"),
        ("mount: /srv/content, mount_options: 'hard,soft'", "", "contradict each other"),
        ("clients: [example.org]", "", "write an address"),
    ],
)
def test_what_is_refused(volume: str, keys: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(made(volume, keys=keys))
    assert any(words in str(error.value) for words in said.split("|"))


def test_bricks_are_named_by_addresses_of_version_4() -> None:
    text = made(
        MOUNT,
        ("10.77.0.11", "fd00::1"),
        ("10.77.0.12", "fd00::2"),
        ("10.77.0.13", "fd00::3"),
        ("10.77.0.100/24", "fd00::9/64"),
    )
    with pytest.raises(UsageError, match="bricks are named by IPv4 addresses only"):
        parse(text)


def test_one_daemon_on_a_node() -> None:
    text = made(MOUNT).replace("  db:", "  more: {type: glusterfs, volumes: {other: {}}}\n  db:")
    with pytest.raises(UsageError, match=r"the unit glusterd\.service is used by service files"):
        parse(text)


def test_ports() -> None:
    kind = service_types()["glusterfs"]
    inside, outside = parse(made()), parse(made("clients: [192.0.2.7]"))
    assert [(port.number, port.who) for port in kind.ports(inside.services["files"], inside)] == [
        ("24007", "nodes"),
        ("49152-60999", "nodes"),
    ]
    assert {port.who for port in kind.ports(outside.services["files"], outside)} == {"clients"}


@pytest.mark.parametrize(
    ("clients", "sources"),
    [
        ("192.0.2.7", ("192.0.2.7",)),
        ("192.0.2.*, 198.51.*.*, 10.*", ("10.0.0.0/8", "192.0.2.0/24", "198.51.0.0/16")),
        ("192.0.2.7, 192.0.2.1*", ()),
        ("192.*.2.7", ()),
        ("192.0.2", ()),
        ("'*'", ()),
    ],
)
def test_the_firewall_lets_in_who_may_mount_where_that_can_be_said_as_networks(
    clients: str, sources: tuple[str]
) -> None:
    topology = parse(made(f"clients: [{clients}]"))
    for port in service_types()["glusterfs"].ports(topology.services["files"], topology):
        assert (port.who, port.sources) == ("clients", sources)


def test_the_lab_gives_each_node_a_disk_of_its_own() -> None:
    topology = parse(made("device: /dev/disk/by-id/brick", keys=", on: [db1, db2]"))
    assert adapt.own_disks(topology) == (OwnDisk("/dev/disk/by-id/brick", ("db1", "db2")),)
    plan = Plan("x", (), (), (), own_disks=adapt.own_disks(topology))
    assert Plan.from_json(plan.to_json()) == plan
