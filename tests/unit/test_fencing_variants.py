"""Ways to fence, from data/fencing: what is generated, what Pacemaker makes of it, and what is refused."""

import re
import subprocess
from pathlib import Path

import pytest
from golden import check
from hafailover.crm import corosync, fence_agents, fence_check, generate, render, sbd, topology, validate
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from pacemaker_programs import Pacemaker
from topologies import changed, parse

VARIANTS = sorted((Path(__file__).parent / "data" / "fencing").glob("*.yml"))
each = pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)

# Variant → the properties about fencing besides stonith-enabled, and the delay of the devices.
EXPECTED = {
    "two-ipmi-device": ({}, {None}),
    "two-ipmi-delay": ({"priority-fencing-delay": "10s"}, {"5s"}),
    "two-ipmi-preferred": ({"priority-fencing-delay": "40s"}, {None, "5s"}),
    "two-sbd-disk": ({"priority-fencing-delay": "10s"}, {"5s"}),
    "two-sbd-disks-device": ({"stonith-timeout": "144s"}, {None}),
    # sync_timeout and 5 s, twice
    "two-sbd-diskless-device": ({"stonith-watchdog-timeout": "30s"}, set()),
    "three-sbd-diskless": ({"stonith-watchdog-timeout": "10s"}, set()),
    "three-sbd-external": ({}, {None}),
    "five-one-device": ({}, {None}),
    "four-ipmi-device": ({}, {None}),
}


@each
def test_what_is_generated_was_reviewed_and_is_valid(path):
    made = generate.configuration(topology.load(path))
    assert validate.validate(cib.tree(made), path.name) is None
    check(f"fencing-{path.stem}.crm", crmsh.text(made))


@each
def test_properties_and_delays(path):
    made = generate.configuration(topology.load(path))
    properties = {pair.name: pair.value for pair in made.properties[0].pairs}
    assert properties["stonith-enabled"] == "true"
    wanted, delays = EXPECTED[path.stem]
    about = ("priority-fencing-delay", "stonith-timeout", "stonith-watchdog-timeout")
    assert {name: properties[name] for name in about if name in properties} == wanted
    devices = [found for found in made.primitives() if found.agent[0] == "stonith"]
    assert {device.param("pcmk_delay_max") for device in devices} == delays


@each
def test_every_node_can_be_fenced_from_another(path):
    loaded = topology.load(path)
    made = generate.configuration(loaded)
    if loaded.sbd and not loaded.sbd.devices:
        assert all(any(file.path == loaded.sbd.settings for file in sbd.files(loaded)) for _ in loaded.nodes)
        return
    banned = {(one.get("rsc"), one.get("node")) for one in made.constraints if one.get("score") == "-INFINITY"}
    for node in loaded.nodes:
        able = [
            (device.id, other)
            for device in made.primitives()
            if device.agent[0] == "stonith" and node in device.param("pcmk_host_list").split()
            for other in loaded.nodes
            if other != node and (device.id, other) not in banned
        ]
        assert able, node


SBD_FILES = {
    "two-sbd-disk": ("/etc/default/sbd", {"SBD_DEVICE": '"/dev/disk/by-id/sbd"', "SBD_WATCHDOG_TIMEOUT": "5"}),
    "two-sbd-disks-device": (
        "/etc/default/sbd",
        {
            "SBD_DEVICE": '"/dev/disk/by-id/sbd1;/dev/disk/by-id/sbd2;/dev/disk/by-id/sbd3"',
            "SBD_WATCHDOG_TIMEOUT": "60",
        },
    ),
    "two-sbd-diskless-device": (
        "/etc/default/sbd",
        {"SBD_WATCHDOG_TIMEOUT": "15", "SBD_DELAY_START": "no", "SBD_WATCHDOG_DEV": "/dev/watchdog"},
    ),
    "three-sbd-diskless": ("/etc/sysconfig/sbd", {"SBD_WATCHDOG_TIMEOUT": "5", "SBD_WATCHDOG_DEV": "/dev/watchdog1"}),
}


@pytest.mark.parametrize("name", SBD_FILES)
def test_the_settings_of_sbd(name, tmp_path):
    loaded = topology.load(next(path for path in VARIANTS if path.stem == name)).with_secrets_dir(tmp_path)
    render.create_secrets(loaded)
    rendered = {file.path: file.content.decode() for file in render.render(loaded, "n2")}
    where, wanted = SBD_FILES[name]
    written = dict(re.findall(r"^([A-Z_]+)=(.*)$", rendered[where], re.MULTILINE))
    assert {key: written[key] for key in wanted} == wanted
    assert ("SBD_DEVICE" in written) == ("SBD_DEVICE" in wanted)
    # A shell and systemd read it.
    result = subprocess.run(["sh", "-n"], input=rendered[where], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    # sbd is given the time to wait that it is told to wait.
    delay = 0 if written["SBD_DELAY_START"] == "no" else int(written["SBD_DELAY_START"])
    assert delay == sbd.start_delay(loaded)
    assert delay != 1
    limit = int(re.search(r"TimeoutStartSec=(\d+)", rendered[sbd.DROP_IN])[1])
    assert limit >= max(90, delay * 1.2)


def test_a_node_is_given_up_and_fenced_before_it_may_come_back():
    loaded = topology.load(next(path for path in VARIANTS if path.stem == "two-sbd-disk"))
    # token 3 s, consensus 3.6 s, msgwait 10 s, up to 5 s of chance
    assert sbd.start_delay(loaded) == 7 + 10 + 5


def test_no_file_without_sbd():
    assert sbd.files(parse()) == []


@pytest.fixture(scope="module")
def pacemaker(tmp_path_factory):
    return Pacemaker(tmp_path_factory.mktemp("programs"))


@each
def test_pacemaker_finds_nothing_wrong_and_fences_a_lost_node(path, pacemaker, tmp_path):
    running, began = pacemaker.started(topology.load(path), tmp_path)
    lost = pacemaker("crm_simulate", "-x", running, "--node-fail", "n1", "--quorum", "true", "--simulate")
    assert lost.returncode == 0, lost.stderr
    executed = lost.stdout.partition("Executing Cluster Transition")[2]
    assert "Fencing n1 (reboot)" in executed
    assert "Fencing n2" not in executed
    if re.search(r"Resource action: other +start on n1", began):
        # Nothing starts elsewhere before the node is known to be down.
        start = re.search(r"Resource action: other +start on n[2-9]", executed)
        assert executed.index("Fencing n1") < start.start()


DISKLESS = ("lab: true", "fencing: {sbd: {}}")
DISK = ("lab: true", "fencing: {sbd: {devices: [/dev/disk/by-id/a]}}")
ALONE = ("{device: {host: 10.77.0.13, tls: off}}", "{two_node: true}")
THIRD = ("quorum: {device: {host: 10.77.0.13, tls: off}}", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}")
IPMI = ("id: 1,", "id: 1, fence: {agent: fence_x},")


@pytest.mark.parametrize(
    ("replacements", "said"),
    [
        ((DISKLESS, ALONE), "fencing.sbd: without devices decides by quorum, and with two nodes and no third voter both sides"),
        ((DISKLESS, ("quorum: {device: {host: 10.77.0.13, tls: off}}\n", "")), "both sides of a split keep it"),
        ((("lab: true", "lab: true\nfencing: {sbd: {}}"), ALONE), "both sides of a split keep it"),
        ((("lab: true", "fencing: {sbd: {timeout: 20s}}"),), "fencing.sbd.timeout: is 20 s, and the vote of the quorum device may"),
        ((("lab: true", "fencing: {sbd: {timeout: 1500ms}}"), THIRD), "fencing.sbd.timeout: is 1500ms; write whole seconds from 3s to 240"),
        ((("lab: true", "fencing: {sbd: {timeout: 1s}}"), THIRD), "fencing.sbd.timeout: is 1s; write whole seconds"),
        ((("lab: true", "fencing: {sbd: {watchdog: /dev/null}}"),), "fencing.sbd.watchdog: is none"),
        ((("lab: true", "fencing: {sbd: {devices: []}}"),), "fencing.sbd.devices: is empty; a list of one to three disks"),
        ((("lab: true", "fencing: {sbd: {devices: [/a, /b, /c, /d]}}"),), "fencing.sbd.devices: has 4 entries; write a list of"),
        ((("lab: true", "fencing: {sbd: {devices: [sdb]}}"),), "fencing.sbd.devices[0]: is 'sdb'; write a disk such as"),
        ((("lab: true", "fencing: {sbd: {}, max_delay: 5s}"),), "fencing.max_delay: has no effect without devices"),
        ((("lab: true", "fencing: {sbd: {}, plug: 5s}"),), "fencing.plug: unknown key 'plug'; allowed: delay, max_delay, sbd"),
        ((("lab: true", "fencing: {sbd: {}, agent: fence_x}"),), "fencing.agent: unknown key 'agent'"),
        ((("lab: true", "fencing: {sbd: {agent: external/sbd}}"),), "fencing.sbd.agent: is for disks, and there are no devices"),
        ((DISKLESS, IPMI), "nodes.db1.fence: stands beside a watchdog without disks"),
        ((DISK, ("mariadb}", "nfs-server, disk: {device: /dev/disk/by-id/a, mount: /x}, exports: {y: {fsid: 1}}}"),
          ("db.primary", "db")), "services.db.disk.device: /dev/disk/by-id/a is a disk of fencing.sbd, which would be overwritten"),
        ((("lab: true\n", ""),), "nothing can switch db1 off: give it fence, or give fencing for all"),
        ((("lab: true", "lab: false"), IPMI), "nothing can switch db2 off"),
        ((("lab: true\n", "fencing: {}\n"),), "fencing.agent: is missing: the fence agent"),
        ((("lab: true\n", ""), ALONE, ("id: 1,", "id: 1, fence: {agent: fence_x, delay: 5s},"),
          ("id: 2,", "id: 2, fence: {agent: fence_x, delay: 5s},")), "nodes.db2.fence.delay: is 5s for db1 too: after a split both"),
        ((("mariadb}", "mariadb, options: {ssl_password: hunter2}}"),), "services.db.options.ssl_password: is a secret in plain"),
        ((IPMI, ("fence_x}", "fence_x, community: hunter2}")), "nodes.db1.fence.community: is written in plain; put it into a file"),
    ],
)  # fmt: skip
def test_what_would_not_fence_is_refused_with_the_reason(replacements, said):
    with pytest.raises(UsageError) as caught:
        parse(changed(*replacements))
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "replacements",
    [
        (DISKLESS,),
        (DISKLESS, THIRD),
        (DISK, ALONE),
        (DISK, IPMI),
        (("lab: true", "fencing: {sbd: {timeout: 31s}}"),),
        (("tls: off", "tls: off, sync_timeout: 8s"), ("lab: true", "fencing: {sbd: {timeout: 9s}}")),
        (IPMI, ("fence_x}", "fence_scsi, key: abc, devices: /dev/a}")),
        (
            (
                "mariadb}",
                "mariadb, options: {ssl_key: /etc/x.pem, key_cache_segments: 5, old_passwords: OFF, key_cache_x: 0.5}}",
            ),
        ),
    ],
)
def test_what_fences_is_taken(replacements):
    generate.configuration(parse(changed(*replacements)))


def test_what_a_person_has_to_know_is_told():
    told = "\n".join(
        render.service_notes(parse(changed(("lab: true", "fencing: {sbd: {devices: [/dev/sdb, /dev/disk/by-id/c]}}"))))
    )
    assert "erases them: sbd -d /dev/sdb -d /dev/disk/by-id/c -1 5 -4 10 create" in told
    assert "while one of two disks is lost nobody can be fenced" in told
    assert "/dev/sdb may be another disk after a restart" in told
    assert "/dev/disk/by-id/c may be" not in told
    fourth = ("  db3: {id: 3,", "  db4: {id: 4, links: [10.77.0.15, 10.77.1.15]}\n  db3: {id: 3,")
    told = "\n".join(render.service_notes(parse(changed(DISKLESS, THIRD, fourth))))
    assert "all nodes reset themselves; a quorum device prevents that" in told
    assert "counts as reset after 10 s" in told


def test_the_lab_has_its_own_power_switch_instead():
    loaded = parse(changed(DISK)).with_fencing("fence_lab", {"db1": {"plug": "db1"}, "db2": {"plug": "db2"}})
    assert loaded.sbd is None
    assert loaded.fenced
    assert corosync.text(loaded) == corosync.text(parse(changed(DISK)))


IPMILAN = """<resource-agent name="fence_ipmilan"><parameters>
<parameter name="ip" required="1"><content type="string"/></parameter>
<parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="password" required="0"><content type="string"/></parameter>
<parameter name="password_script" required="0"><content type="string"/></parameter>
<parameter name="lanplus" required="0"><content type="boolean" default="0"/></parameter>
</parameters><actions/></resource-agent>"""


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ip: a, password: file:ipmi, lanplus: 1", []),
        ("ip: a, pasword: hunter2", ["nodes.db1.fence.pasword", "no such parameter", "did you mean password"]),
        ("lanplus: 1", ["nodes.db1.fence.ip: is missing"]),
        ("ip: a, lanplus: perhaps", ["nodes.db1.fence.lanplus: is no value that fence_ipmilan takes: it wants 1 or 0"]),
        ("ip: a, pcmk_host_maps: x", ["nodes.db1.fence.pcmk_host_maps", "did you mean pcmk_host_map"]),
    ],
)
def test_parameters_are_those_that_the_agent_takes(written, said):
    known = fence_agents.parse("fence_ipmilan", IPMILAN)
    loaded = parse(changed(("id: 1,", f"id: 1, fence: {{agent: fence_ipmilan, {written}}},")))
    found = list(fence_check.problems(loaded, {"fence_ipmilan": known}.get))
    assert bool(found) == bool(said)
    shown = str(topology.refusal(loaded, found))
    assert all(words in shown for words in said)
    assert "hunter2" not in shown


def test_what_an_agent_that_is_not_installed_takes_nobody_knows():
    loaded = parse(changed(("id: 1,", "id: 1, fence: {agent: fence_x, foo: 1},")))
    assert list(fence_check.problems(loaded, lambda agent: None)) == []
    assert list(fence_check.notes(loaded, lambda agent: None)) == [
        "fence_x is not installed here: its parameters are unchecked"
    ]
    assert list(fence_check.notes(loaded, {"fence_x": fence_agents.parse("fence_x", IPMILAN)}.get)) == []


def test_what_pacemaker_itself_takes_is_known_without_the_agent():
    loaded = parse(changed(("id: 1,", "id: 1, fence: {agent: fence_x, pcmk_reboot_timout: 90s},")))
    [found] = fence_check.problems(loaded, lambda agent: None)
    assert found.path == ("nodes", "db1", "fence", "pcmk_reboot_timout")
    assert "Pacemaker has no such parameter" in found.message


def fenced(first, second="", both="", quorum="{two_node: true}"):
    """A topology of two nodes without a lab's licence: what db1, db2 and both of them are fenced by."""
    pieces = [("lab: true\n", f"fencing: {{agent: fence_vmware_rest, ip: 203.0.113.1{both}}}\n" if both else "")]
    pieces += [("{device: {host: 10.77.0.13, tls: off}}", quorum)]
    for number, own in ((1, first), (2, second)):
        if own:
            pieces.append(
                (f"id: {number},", f"id: {number}, fence: {{agent: fence_ipmilan, ip: 203.0.113.1{number}{own}}},")
            )
    return changed(*pieces)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (fenced("", both=", delay: 10s"), "fencing.delay: makes both nodes wait 10 s, without chance: after a split"),
        (fenced("", both=", max_delay: 0s"), "fencing.max_delay: makes both nodes wait 0 s, without chance"),
        (changed(("lab: true", "fencing: {sbd: {devices: [/dev/disk/by-id/a]}, delay: 5s}"), ALONE), "fencing.delay: makes both"),
        (changed(("lab: true", "fencing: {sbd: {devices: [/dev/disk/by-id/a]}, max_delay: 0s}"), ALONE), "fencing.max_delay: makes both"),
        (fenced(", max_delay: 0s", ", max_delay: 0s"), "nodes.db2.fence.max_delay: is 0s for db1 too: after a split both"),
        (fenced(", pcmk_delay_base: 30", ", delay: 30s"), "nodes.db2.fence.delay: is 30s for db1 too"),
        (fenced(", pcmk_delay_base: 30s", ", pcmk_delay_base: '0.5min'"), "nodes.db2.fence.pcmk_delay_base: is no time that Pacemaker"),
        (fenced(", delay: 3s, max_delay: 1s", ", delay: 3s, max_delay: 3s"), "nodes.db1.fence.max_delay: is 1s, shorter than delay (3s)"),
        # Pacemaker counts whole seconds: 5.2 and 5.9 are the same, and of one second of chance nothing is left.
        (fenced(", delay: 5200ms", ", delay: 5900ms"), "nodes.db2.fence.delay: is 5s for db1 too"),
        (fenced(", max_delay: 1s", ", max_delay: 1900ms"), "nodes.db2.fence.max_delay: is 0s for db1 too"),
        (fenced("", both=', pcmk_delay_base: "db1:30s;db2:30s"'), "fencing.pcmk_delay_base: makes both nodes wait 30 s"),
        (fenced("", both=', pcmk_delay_base: "db1:30s;db3:0s"'), "fencing.pcmk_delay_base: names 'db3', and the device is for db1, db2"),
        (fenced("", both=', pcmk_delay_base: "db1:soon;db2:0s"'), "fencing.pcmk_delay_base: has 'soon' for db1, which is no time"),
        (fenced(", pcmk_delay_max: P5S", ", delay: 3s"), "nodes.db1.fence.pcmk_delay_max: is no time that Pacemaker reads"),
        (fenced(", delay: 3s, pcmk_delay_base: 9", ", delay: 1s"), "nodes.db1.fence.pcmk_delay_base: is what delay is for; keep one"),
        (fenced(", pcmk_host_list: db2", ", lanplus: 1"), "nodes.db1.fence.pcmk_host_list: is not to be given: the device is for db1"),
        (fenced("", both=", pcmk_host_list: db1"), "fencing.pcmk_host_list: is not to be given: the device is for db1, db2"),
        (fenced("", both=", pcmk_host_check: none"), "fencing.pcmk_host_check: is not to be given"),
        (fenced("", both=", plug: 3"), "fencing.plug: is one outlet for db1, db2"),
        (fenced("", both=", port: 3"), "fencing.port: is one outlet for db1, db2"),
        (fenced("", both=", pcmk_host_argument: none"), "fencing.pcmk_host_argument: is none: the agent would not be told which"),
        (fenced("", both=', pcmk_host_map: "db1:3;db2:3"'), "fencing.pcmk_host_map: has the outlet '3' for db1 and for db2"),
        (fenced("", both=', pcmk_host_map: "db1:3;bd2:4"'), "fencing.pcmk_host_map: names 'bd2', and the device is for db1, db2"),
        (fenced("", both=', pcmk_host_map: "db1=3;db2:3"'), "fencing.pcmk_host_map: has the outlet '3' for db1 and for db2"),
        (fenced("", both=', pcmk_host_map: "db1:vm:1;db2:vm:2"'), "fencing.pcmk_host_map: names 'vm', and the device is for db1, db2"),
        (fenced("", both=', pcmk_host_map: "db1:;db2:4"'), "fencing.pcmk_host_map: has no outlet for 'db1'"),
        (fenced("", both=', pcmk_host_map: "db1:3 db2"'), "fencing.pcmk_host_map: is read by Pacemaker as db1 alone"),
        (fenced(", action: metadata", ", lanplus: 1"), "nodes.db1.fence.action: is not to be given: Pacemaker tells the agent"),
        (fenced(", pcmk_reboot_action: status", ", lanplus: 1"), "nodes.db1.fence.pcmk_reboot_action: is 'status', which switches"),
        (fenced(", pcmk_off_action: metadata", ", lanplus: 1"), "nodes.db1.fence.pcmk_off_action: is 'metadata', which switches nothing"),
        (fenced(", pcmk_monitor_action: off", ", lanplus: 1"), "nodes.db1.fence.pcmk_monitor_action: is 'off': monitor is only to look"),
        (fenced(", lanplus: 1, delay: 9s", ", lanplus: 1").replace("113.12", "113.11"), "switches off the device of db1 too"),
        (fenced(", plug: 7", ", port: 7").replace("113.12", "113.11").replace("ipmilan", "apc"), "switches off the outlet 7 of db1 too"),
    ],
)  # fmt: skip
def test_what_would_fence_nobody_another_or_both_is_refused(text, said):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        (fenced("", both=', pcmk_host_map: "db1:vm1;db2:vm2"'), "10s"),
        (fenced("", both=", delay: 10s, max_delay: 12s"), "24s"),
        (fenced("", both=", delay: 10s", quorum="{device: {host: 10.77.0.13, tls: off}}"), None),
        (fenced("", both=', pcmk_delay_base: "db1:0s;db2:30s"'), "60s"),
        (fenced(", pcmk_delay_base: 30", ", lanplus: 1"), "60s"),
        (fenced(", pcmk_delay_base: 1min", ", delay: 2s"), "120s"),
        (fenced(", delay: 3s", ", delay: 0s"), "10s"),
        (fenced(", pcmk_reboot_action: off, pcmk_monitor_action: metadata", ", delay: 0s"), "10s"),
        # One manager of many machines is told which one is meant.
        (fenced(", lanplus: 1", ", lanplus: 1").replace("113.12", "113.11").replace("ipmilan", "vmware_rest"), "10s"),
        (fenced(", plug: 1", ", plug: 2").replace("113.12", "113.11").replace("ipmilan", "apc"), "10s"),
    ],
)  # fmt: skip
def test_the_priority_is_longer_than_whatever_a_device_waits(text, priority):
    made = generate.configuration(parse(text))
    properties = {pair.name: pair.value for pair in made.properties[0].pairs}
    assert properties.get("priority-fencing-delay") == priority
