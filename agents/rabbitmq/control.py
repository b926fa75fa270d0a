"""RabbitMQ's own command line tools, run as its user, each call bounded. One costs 0.9 s of processor time: not for every monitor."""

from __future__ import annotations

import os

from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError, Result
from hafailover.agents.rabbitmq.nodes import broker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TOOLS = "/usr/lib/rabbitmq/bin"
_TIMEOUT = 60.0
_NOT_A_MEMBER = ("not_a_cluster_node", "not a cluster member", "not_clustered")


def run(
    ctx: Context,
    node: str,
    argv: Sequence[str],
    timeout: float = _TIMEOUT,
    input: str | None = None,
    tool: str = "rabbitmqctl",
) -> Result:
    """Run ``rabbitmqctl`` against the broker of the cluster node ``node``. Its package's wrapper would put ``argv`` through a shell."""
    user = ctx.params["user"]
    # Pacemaker's directory is closed to that user, and Erlang's loader says so in the middle of the tool's answer.
    os.chdir("/")
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", f"{_TOOLS}/{tool}", "-q"]
    home = {"HOME": ctx.params["data"].rpartition("/")[0], "LC_ALL": "C.UTF-8"}
    return ctx.run([*command, "-n", broker(node), *argv], timeout=timeout, input=input, env=home)


def ask(ctx: Context, node: str, argv: Sequence[str], timeout: float = _TIMEOUT, input: str | None = None) -> str:
    """Its output; OcfError when it failed."""
    answer = run(ctx, node, argv, timeout, input)
    if answer.timed_out or answer.rc != 0:
        raise OcfError(ERR_GENERIC, f"rabbitmqctl {argv[0]} on {node}: {why(ctx, answer)}")
    return answer.out


def why(ctx: Context, answer: Result) -> str:
    """Why a call failed, in one line. A changed cookie explains every failure, and the tools tell it in their tenth line, if at all."""
    from hafailover.agents.rabbitmq import credentials

    try:
        credentials.check_cookie(ctx)
    except OcfError as error:
        return error.reason
    return said(answer)


def said(answer: Result) -> str:
    """What the tool said about its failure, in one line."""
    if answer.timed_out:
        return "no answer in time"
    lines = [line.strip() for line in (answer.err or answer.out).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else f"exit code {answer.rc}"


def forget(ctx: Context, host: str, gone: str) -> bool:
    """Have the running broker on ``host`` forget the member on ``gone``; False when it knew none. OcfError.

    A member that lost its data would not be let in again: the others remember what it was.
    """
    if not gone or gone == host:
        raise ValueError("a broker cannot be forgotten without a name, or by itself")
    answer = run(ctx, host, ["forget_cluster_node", broker(gone)])
    text = answer.out + answer.err
    if answer.rc == 0 and not answer.timed_out:
        return True
    if any(words in text for words in _NOT_A_MEMBER):
        return False
    raise OcfError(ERR_GENERIC, f"{host} does not forget the former broker of {gone}: {why(ctx, answer)}")
