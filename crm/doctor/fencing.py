"""Fencing: whether each device answers each node that may have to use it. Nothing is ever switched: status and list alone are asked."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Iterator
from typing import Any

from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, mapping, text
from hafailover.crm.doctor.here import CannotLook, Here
from hafailover.crm.status_fencing import watchdog
from hafailover.crm.status_xml import TRUE, pairs

TITLE = "Fencing"
_LIMIT = 12  # seconds for a device to answer
_NO_SUCH_DEVICE = "No such device"
_NOT_THERE = (105, 6, 19)  # CRM_EX_NOSUCH, and errno ENXIO and ENODEV as other versions have it
_WHY = "when a node is lost, nothing of it is started elsewhere before a device has switched it off"


def read(here: Here) -> dict[str, Any]:
    """``enabled``; ``devices``: id → ``status`` ("" when it answered, else why not) and ``list`` (nodes that it says it can switch).

    ``watchdog``: whether a lost node is known to reset itself.
    """
    cib = here.configuration()
    names = [one.get("id", "") for one in cib.iter("primitive") if one.get("class") == "stonith"]
    options = [pairs(group) for group in cib.iterfind("configuration/crm_config/cluster_property_set")]
    enabled = next((one["stonith-enabled"] for one in options if "stonith-enabled" in one), "true")
    found: dict[str, Any] = {}
    threads = [threading.Thread(target=_try, args=(here, name, found), daemon=True) for name in names]
    for name, thread in zip(names, threads):
        found[name] = {"status": f"it did not answer within {_LIMIT} s", "list": None}
        thread.start()
    end = time.monotonic() + _LIMIT + 2  # for all of them: what stands behind a dead switch hangs together
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    properties = {name: value for group in reversed(options) for name, value in group.items()}
    return {
        "enabled": enabled.lower() in TRUE,
        "watchdog": watchdog(properties),
        "devices": {name: dict(found[name]) for name in names},
    }


def _try(here: Here, device: str, found: dict[str, Any]) -> None:
    try:
        done = here.ask("stonith_admin", "--query", device, "--timeout", str(_LIMIT), timeout=_LIMIT + 1.0)
        said = [line for line in (done.err or done.out).strip().splitlines() if line.strip()]
        if any("connect to fencer" in line for line in said):
            raise CannotLook("Pacemaker's fencer does not run on this node")
        if done.rc in _NOT_THERE:
            said = [_NO_SUCH_DEVICE]
        status = "" if done.rc == 0 else said[-1] if said else f"stonith_admin ended with {done.rc}"
        found[device] = {"status": status, "list": None}
        if status:
            return
        listed = here.ask("stonith_admin", "--list-targets", device, "--timeout", str(_LIMIT), timeout=_LIMIT + 1.0)
        found[device] = {"status": status, "list": targets(listed.out) if listed.rc == 0 else None}
    except CannotLook as error:
        found[device] = {"error": str(error)}


def targets(said: str) -> list[str]:
    """The nodes that ``stonith_admin --list-targets`` printed."""
    return [line.strip() for line in said.splitlines() if line.strip() and " " not in line.strip()]


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each device and node, and for each node that nobody could switch off."""
    yield from seen.untold("fencing", "fence-device", "its fencing devices")
    told = seen.told("fencing")
    for node, facts in told.items():
        if not facts.get("enabled"):
            fix = "crm_attribute -t crm_config -n stonith-enabled -v true"
            yield Result(
                "fencing-enabled", FAIL, node, "fencing is switched off in the cluster's configuration", _WHY, fix
            )
            return  # it is one configuration
    devices = dict.fromkeys(device for facts in told.values() for device in mapping(facts.get("devices")))
    if told and not devices and any(facts.get("watchdog") is True for facts in told.values()):
        yield Result("fence-device", OK, "", "no device is needed: a node that is lost resets itself (SBD's watchdog)")
    elif told and not devices:
        fix = "name one for each node in the topology (docs/fencing.md), and apply it"
        yield Result("fence-device", FAIL, "", "the cluster has no fencing device", _WHY, fix)
    for device in devices:
        yield from _device(
            device, {node: mapping(mapping(facts.get("devices")).get(device)) for node, facts in told.items()}
        )
    if devices:
        yield from _covered(seen, told)


def _device(device: str, answers: dict[str, Any]) -> Iterator[Result]:
    name = text(device, 80)
    good, away = [], []
    for node, found in answers.items():
        status = str(found.get("status", "it was not asked"))
        if "error" in found:
            yield Result("fence-device", UNKNOWN, node, f"{name}: not looked at, because {text(found['error'])}")
        elif not status:
            good.append(node)
        elif _NO_SUCH_DEVICE in status:
            away.append(node)  # a location constraint keeps it off its own target
        else:
            word = shlex.quote(name)
            fix = f"stonith_admin --query {word} there, until it ends with 0; then crm_resource --cleanup -r {word}"
            yield Result("fence-device", FAIL, node, f"{name} does not answer: {text(status)}", _WHY, fix)
    if good:
        yield Result("fence-device", OK, "", f"{name} answers {', '.join(good)}")
    elif away and len(away) == len(answers):
        yield Result("fence-device", UNKNOWN, "", f"{name}: not looked at, because no node that was asked may use it")


def _covered(seen: Seen, told: Any) -> Iterator[Result]:
    for target in seen.nodes:
        lists = [
            found.get("list")
            for facts in told.values()
            for found in map(mapping, mapping(facts.get("devices")).values())
            if "error" not in found and not found.get("status")
        ]
        listed = [one for one in lists if isinstance(one, list) and one]
        if listed and not any(target.lower() in (str(name).lower() for name in one) for one in listed):
            fix = "pcmk_host_list or pcmk_host_map of its device must name it as the cluster does: crm_node -l"
            yield Result("fence-target", WARN, target, "no device that answers says that it can switch it", _WHY, fix)
