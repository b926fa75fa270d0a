"""The deep check: run an action from end to end, and tell where it got stuck."""

from __future__ import annotations

import configparser
import http.client
import json
import os
import time

from hafailover.agents import web
from hafailover.agents.ocf import DEGRADED, ERR_CONFIGURED, ERR_GENERIC, SUCCESS, Context, OcfError
from hafailover.agents.st2 import decide, memory
from hafailover.agents.st2.names import base
from hafailover.agents.st2.tend import Round

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_POLL = 0.5
_BROKER = 2.0  # seconds in which a broker takes a connection
_ASK = 10.0  # seconds for one answer
_ENDED = ("succeeded", "failed", "timeout", "canceled", "abandoned")
_IN_A_ROW = 2  # failures after which units are restarted: one may be a failover that is under way


def api_key(path: str) -> str:
    """The key in a credentials file, ``api_key`` in the section ``[st2]``. OcfError when it is not there or not secret."""
    parser = configparser.RawConfigParser()
    try:
        if os.stat(path).st_mode & 0o077:
            raise OcfError(ERR_CONFIGURED, f"{path} can be read by others; chmod 0600 it")
        with open(path) as file:
            parser.read_string(file.read())
        return parser["st2"]["api_key"].strip()
    except OSError as error:
        raise OcfError(ERR_CONFIGURED, f"cannot read the API key in {path}: {error.strerror}") from None
    except (configparser.Error, KeyError):
        raise OcfError(ERR_CONFIGURED, f"{path} has no line api_key = … in the section [st2]") from None


def check(ctx: Context) -> int:
    """Run the action; SUCCESS, or OcfError with where it is stuck (after the second time in a row, units are restarted)."""
    kept = memory.load(ctx.instance)
    try:
        _run(ctx)
    except Stuck as stuck:
        if kept is None:
            raise OcfError(DEGRADED, stuck.reason) from None
        kept.deep += 1
        try:
            _treat(ctx, kept, stuck)
        finally:
            memory.save(ctx.instance, kept)
    if kept is not None and kept.deep:
        kept.deep = 0
        memory.save(ctx.instance, kept)
    return SUCCESS


def _treat(ctx: Context, kept: memory.Memory, stuck: Stuck) -> None:
    """Always OcfError: what is wrong, and what was done about it."""
    names = [name for name, unit in kept.units.items() if base(name) in stuck.services and unit.pid and not unit.since]
    if kept.deep < _IN_A_ROW or not names:
        raise OcfError(DEGRADED, stuck.reason)
    if kept.brokers and not any(web.works(kept.brokers, ctx.deadline.bound(_BROKER)).values()):
        raise OcfError(DEGRADED, f"{stuck.reason}; nothing is restarted, because no broker takes connections")
    round_ = Round(ctx, kept)
    window, limit = ctx.params["restart_window"], ctx.params["restarts"]
    refused = round_.unmanaged() or decide.exhausted(kept.deaths, round_.now, limit, window)
    if refused:
        raise OcfError(ERR_GENERIC, f"{stuck.reason}; {refused}")
    kept.deaths.append(round_.now)
    kept.deep = 0
    round_.restart(names, stuck.reason)
    raise OcfError(DEGRADED, f"{stuck.reason}; restarted {', '.join(names)}")


class Stuck(Exception):
    """The action did not come to its end: the reason, and the services of this node whose restart may help."""

    def __init__(self, reason: str, services: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.services = reason, services


def _run(ctx: Context) -> None:
    """Submit the action and wait for its success. Stuck; OcfError for a bad configuration."""
    action = ctx.params["deep_action"]
    key = api_key(ctx.params["credentials"]) if ctx.params["credentials"] else ""
    end = time.monotonic() + ctx.deadline.bound(ctx.params["deep_timeout"])
    body = {"action": action, "parameters": parameters(ctx.params["deep_parameters"])}
    answer = _ask(ctx, key, "POST", "/v1/executions", body, end)
    identity, status = str(answer.get("id", "")), str(answer.get("status", ""))
    if not identity:
        raise Stuck(f"st2api took {action} but told no execution's id", ("st2api",))
    while status not in _ENDED:
        if time.monotonic() >= end:
            raise Stuck(
                f"{action} is not done after {ctx.params['deep_timeout']:g} s, execution {identity} is {status}: "
                f"{decide.stuck(status)}",
                decide.stuck_units(status),
            )
        time.sleep(_POLL)
        status = str(_ask(ctx, key, "GET", f"/v1/executions/{identity}", None, end).get("status", ""))
    if status != "succeeded":
        raise Stuck(f"{action} ended as {status} (execution {identity}): st2 execution get {identity}")


def parameters(text: str | None) -> dict[str, Any]:
    """The action's parameters from JSON. OcfError when that is not an object."""
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise OcfError(ERR_CONFIGURED, f"deep_parameters is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise OcfError(ERR_CONFIGURED, "deep_parameters is not a JSON object such as {}")
    return value


def _ask(ctx: Context, key: str, method: str, path: str, body: Mapping[str, Any] | None, end: float) -> dict[str, Any]:
    """One request to st2api; its answer. Stuck."""
    host, port, root = web.parse(ctx.params["api"])
    headers = {"Content-Type": "application/json", **({"St2-Api-Key": key} if key else {})}
    connection = http.client.HTTPConnection(host, port, timeout=max(0.5, min(_ASK, end - time.monotonic())))
    try:
        connection.request(method, root.rstrip("/") + path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read(1 << 20)
        if response.status in (401, 403):
            raise Stuck(
                f"st2api refuses the deep check's API key ({response.status}); renew it in its credentials file"
            )
        if response.status >= 400:
            raise Stuck(f"st2api answers {method} {path} with {response.status} {_fault(text)}".rstrip(), ("st2api",))
        value = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Stuck(f"st2api does not answer {method} {path}: {error or type(error).__name__}", ("st2api",)) from None
    finally:
        connection.close()
    return value if isinstance(value, dict) else {}


def _fault(text: bytes) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    return str(value.get("faultstring", ""))[:200] if isinstance(value, dict) else ""
