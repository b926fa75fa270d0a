"""The data directory of a broker that does not run: what it holds, the mark of a beginning that was not finished, putting it aside."""

from __future__ import annotations

import os
import pwd

from hafailover.agents.rabbitmq import decide
from hafailover.agents.rabbitmq.decide import Here
from hafailover.agents.rabbitmq.nodes import broker, in_term

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.context import Context

_FORCE = "force_load"  # the file that rabbitmqctl force_boot makes: load the tables without waiting for anybody


class Disk:
    """The directory of this node's broker below the parameter ``data``."""

    def __init__(self, ctx: Context) -> None:
        base = ctx.params["data"]
        self._base, self._user = base, ctx.params["user"]
        self.path = f"{base}/{broker(ctx.node)}"
        self._begun = f"{os.path.dirname(base)}/hafailover-{ctx.instance}.begun"
        self._seen = f"{self.path}/hafailover-seen"

    def holds(self, me: str) -> Here:
        """What is in it. OSError."""
        members, begun = self.members(), (self.begun() or "").partition(" ")[0]
        if self.is_blank():
            return Here(decide.NOTHING, begun=begun)
        if members - {me}:
            return Here(decide.KEPT, members, begun)
        if begun:
            return Here(decide.HALF, members, begun)
        try:
            with open(self._seen) as file:
                return Here(decide.FRESH if file.read() == decide.FRESH else decide.KEPT, members | {me})
        except FileNotFoundError:
            return Here(decide.ALONE, members | {me})

    def is_blank(self) -> bool:
        """Whether there is nothing at all."""
        try:
            return not os.listdir(self.path)
        except FileNotFoundError:
            return True

    def members(self) -> frozenset[str]:
        """The cluster nodes of which the broker's cluster consists, by its own file, which it keeps current while it runs."""
        return self._nodes("cluster_nodes.config")

    def view(self) -> frozenset[str]:
        """Those that it sees running, or saw when it last ran: it keeps this file current, too, whatever its name."""
        return self._nodes("nodes_running_at_shutdown")

    def _nodes(self, name: str) -> frozenset[str]:
        try:
            with open(f"{self.path}/{name}") as file:
                return in_term(file.read())
        except FileNotFoundError:
            return frozenset()

    def user(self) -> int | None:
        """A process of Erlang that has a file of it open: a broker that is at work on it, or hangs in the kernel; None if there is none."""
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm") as file:
                    if not file.read().startswith("beam"):
                        continue
                if any(
                    _target(f"/proc/{pid}/fd/{fd}").startswith(f"{self.path}/") for fd in os.listdir(f"/proc/{pid}/fd")
                ):
                    return int(pid)
            except OSError:
                continue  # it has just ended
        return None

    # -- a beginning that must be found again after the power failed -------------------------------------------------

    def begin(self, what: str) -> None:
        """Note durably, before anything is made, that what will lie here was made by a founding or joining."""
        with open(self._begun, "w") as file:
            file.write(what)
            file.flush()
            os.fsync(file.fileno())
        self._sync_directory()

    def begun(self) -> str | None:
        """What was begun and not finished, or None."""
        try:
            with open(self._begun) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def finish(self) -> None:
        """It is done: what lies here counts."""
        try:
            os.unlink(self._begun)
        except FileNotFoundError:
            return
        self._sync_directory()

    def _sync_directory(self) -> None:
        directory = os.open(os.path.dirname(self._begun), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    # -- changing it, while the broker is stopped ---------------------------------------------------------------------

    def saw(self, kind: str) -> None:
        """Note in the directory itself what was seen in it: it is gone with what it speaks of."""
        with open(self._seen, "w") as file:
            file.write(kind)

    def force(self) -> None:
        """Have the next start load the data without waiting for anybody, as ``rabbitmqctl force_boot`` does."""
        path = f"{self.path}/{_FORCE}"
        with open(path, "w"):
            owner = pwd.getpwnam(self._user)
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def remove_half(self) -> None:
        """Remove what an interrupted beginning left. OSError."""
        import shutil

        shutil.rmtree(self.path)
        self._remove_flags()

    def set_aside(self) -> str:
        """Rename the directory, so that the node is blank and nothing is lost; where it is now. OSError."""
        import time

        place = f"{self.path}.set-aside-{time.strftime('%Y%m%dT%H%M%S')}"
        os.rename(self.path, place)
        self._remove_flags()
        return place

    def _remove_flags(self) -> None:
        try:
            os.unlink(f"{self.path}-feature_flags")
        except FileNotFoundError:
            return


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # it was closed since
        return ""
