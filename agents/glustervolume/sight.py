"""What an instance sees: its own bricks, the volume as glusterd here has it, what the other nodes tell and what the cluster remembers."""

from __future__ import annotations

import time

from hafailover.agents.gluster import command, layout, store
from hafailover.agents.gluster.pool import Pool
from hafailover.agents.glustervolume import bricks, decide, disk, place, telling
from hafailover.agents.glustervolume.decide import Brick, Facts, Told, Volume
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import Context
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT = 30.0
_LOOK = 10.0  # seconds for a brick's disk


class Sight:
    """The volume of a context, seen from its node. Whatever asks the cluster may raise PacemakerError."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._memo = Memo(ctx.instance)
        self._attribute = f"{ctx.instance}-volume"
        self.pool = Pool(ctx)
        self.me = ctx.node
        self.name: str = ctx.params["volume"]
        self.root: str = ctx.params["brick"]
        self.replica: str = ctx.params["replica"]
        self.allow = f"{ctx.instance}-allow"
        self.making = f"making-{self.name}"
        self.mark = f"volume {self.name} on {self.me}"

    @property
    def nodes(self) -> list[str]:
        """The nodes of the list, in its order."""
        return list(self.pool.addresses)

    @property
    def address(self) -> str:
        """This node's address; "" when nothing here tells it.

        Pacemaker stops an instance whose first start failed with the parameters of its last action that succeeded, a probe from before the
        node was in the list: then the volumes of its glusterd tell the name that this node's bricks go by.
        """
        return self.pool.addresses.get(self.me) or store.own_host()

    # -- here ----------------------------------------------------------------------------------------------------------------

    def volume(self) -> Volume | None:
        """The volume as this node's glusterd has it."""
        found = store.volume(self.name)
        if found is None:
            return None
        names = {self.address: self.me, **{address: name for name, address in self.pool.addresses.items()}}
        listed = tuple(Brick(names.get(host, ""), path, ident) for _, host, path, ident in found.bricks)
        return Volume(found.id, found.started, listed, found.width, found.arbiter)

    def made(self, volume: Volume, record: str | None = None) -> bool:
        """Whether it is the volume that the cluster remembers (``record``, looked up when not given), or has begun to make."""
        known = self.pool.record(f"volume-{self.name}") if record is None else record
        return volume.id == known or (not known and self.pool.record(self.making) != "")

    def mine(self, volume: Volume | None) -> list[Brick]:
        """This node's bricks of the volume."""
        return [brick for brick in volume.bricks if brick.node == self.me] if volume else []

    def pid(self, brick: Brick) -> int:
        """The process that serves a brick of this node, or 0."""
        return bricks.pid(self.name, self.address, brick.path)

    def uuid(self) -> str:
        """The UUID of this node's glusterd."""
        uuid = store.identity().uuid
        if not uuid:  # glusterd gives itself one when it needs it
            command.ask(self._ctx, ["system::", "uuid", "get"], _SHORT)
            uuid = store.identity().uuid
        return uuid

    def states(self, volume: Volume) -> dict[str, bricks.State | None]:
        """A look at each of this node's bricks by path; None for one whose disk does not answer. OSError."""
        found = {}
        sets = volume.sets()
        for brick in self.mine(volume):
            copies = [copy.id for one in sets if brick in one for copy in one if copy != brick]
            found[brick.path] = bricks.look(brick.path, copies, min(_LOOK, self._ctx.deadline.remaining() / 3))
        return found

    def known(self) -> tuple[str, str]:
        """What the cluster remembers of this node's place: "own" or "shared", and the installation that had it."""
        kind, _, machine = self.pool.record(f"place-{self.name}-{self.me}").partition(" ")
        return kind, machine

    def remember(self) -> None:
        """Have the cluster remember who this node is in the pool, and what its place is."""
        kind = "own" if disk.is_own(self.root) else "shared"
        self.pool.remember(self.me, store.identity())
        self.pool.write(f"place-{self.name}-{self.me}", f"{kind} {_machine()}")

    def behind(self) -> frozenset[str]:
        """The ids of the bricks that the cluster remembers to be behind."""
        return frozenset(filter(None, self.pool.record(f"behind-{self.name}").strip().split(",")))

    def note_behind(self, more: frozenset[str] = frozenset(), fewer: frozenset[str] = frozenset()) -> None:
        """Have the cluster remember ``more`` of them, or forget some, and this node that there are any. Refused without quorum."""
        now = ",".join(sorted((self.behind() | more) - fewer))
        if now or self.behind():
            self.pool.write(f"behind-{self.name}", now or ",")  # a property without a value cannot be told from none
        if now:
            self._memo.write("behind", now)
        else:
            self._memo.clear("behind")

    def turn(self) -> str:
        """Which node was the last to begin to serve, and when. A mark that a copy served alone holds for the turn in which it was set."""
        return self.pool.record(f"turn-{self.name}").strip()

    def begin_turn(self) -> str:
        """Have the cluster remember that this node begins to serve; the turn. Refused without quorum.

        A copy marks itself as ahead while it serves alone, and takes the mark away when a monitor sees that the other has caught up.
        One that lost its power before that monitor came back alone and went on with less than the other had. So the mark says nothing
        any more as soon as the other serves, and what tells its node so is on that node's disk by then.
        """
        turn = f"{self.me}.{time.time_ns()}"
        self.pool.write(f"turn-{self.name}", turn)
        return turn

    def _anew(self) -> bool:
        """Whether an empty place is that of a new disk or a new installation, or of a node that never served."""
        machine = self.known()[1]
        return machine != _machine() or disk.is_new(self.root)

    def has_files(self) -> bool:
        """Whether some brick of this node has files."""
        paths = [brick.path for brick in self.mine(self.volume())]
        return bool(paths) and disk.have_files(paths)

    def _planned(self) -> list[str]:
        """The paths of this node's bricks in a volume that is not made yet, or that it is not yet part of."""
        all_sets = layout.sets(self.nodes, self.replica)
        return [layout.path(self.root, brick) for one in all_sets for brick in one if brick.node == self.me]

    # -- others --------------------------------------------------------------------------------------------------------------

    def tell(self, what: Told) -> None:
        """Tell the other nodes, unless it was the last that was told."""
        text = telling.line(what)
        if self._memo.read("told") != text:
            self.pool.tell(self._attribute, text)
            self._memo.write("told", text)

    def tell_serving(self, states: Mapping[str, bricks.State | None]) -> None:
        """Tell them that this node's bricks serve, and what these know to be missing elsewhere."""
        seen = {path: state for path, state in states.items() if state is not None}
        blamed = frozenset().union(*(state.blamed for state in seen.values())) if seen else frozenset()
        self.tell(Told(decide.RUNNING, self.uuid(), frozenset(seen), blamed))

    def told(self) -> dict[str, Told]:
        """What the other nodes tell."""
        heard = {name: telling.hear(text) for name, text in self.pool.told(self._attribute).items()}
        return {name: one for name, one in heard.items() if one is not None}

    def rejected(self) -> tuple[str, ...]:
        """The nodes whose glusterd and this one reject each other."""
        found = store.rejected()
        if not found:
            return ()
        # A peer that answered first is known by what its address resolves to, and by nothing else.
        words = {word for names in found.values() for word in names}
        try:
            members = self.pool.members()
        except PacemakerError:
            members = {}
        listed = self.pool.addresses.items()
        return tuple(name for name, address in listed if members.get(name) in found or {name, address} & words)

    def connected(self, told: Mapping[str, Told]) -> list[str]:
        """The nodes that are in the pool and connected, this one among them."""
        names = {uuid: name for name, uuid in self.pool.members().items()}
        names.update((one.uuid, name) for name, one in told.items() if one.uuid)
        befriended = store.peers()
        found = [self.me]
        for text in command.ask(self._ctx, ["pool", "list"], _SHORT).splitlines():
            words = text.split()
            if len(words) == 3 and words[2] == "Connected" and words[0] in befriended and words[0] in names:
                found.append(names[words[0]])
        return found

    def _gone(self, maker: str, told: Mapping[str, Told]) -> bool:
        """Whether the node that holds the claim does not act any more."""
        if not maker or maker == self.me:
            return False
        if maker in told:
            return told[maker].state in (decide.STOPPED, decide.BLOCKED)
        return maker not in self.pool.addresses or maker in self.pool.pacemaker.clean_down()

    # -- all of it -----------------------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        """All that is to be known now. OcfError."""
        record = self.pool.record(f"volume-{self.name}")
        told = self.told()
        volume = self.volume()
        maker = self.pool.maker()
        mine = self.mine(volume)
        paths = [brick.path for brick in mine] or self._planned()
        here = disk.bricks(paths, volume.id if volume else record)
        if mine and disk.refilling(self.root):
            here = {path: place.HALF if what == place.KEPT else what for path, what in here.items()}
        emptied = any(here.get(brick.path) != place.KEPT for brick in mine)
        behind = self.behind() if volume and volume.width == 2 else frozenset[str]()
        asks = emptied or bool(volume and volume.width == 2)
        return Facts(
            self.nodes,
            self.replica,
            record,
            maker,
            self._gone(maker, told),
            volume,
            here,
            frozenset(brick.path for brick in mine if not self.pid(brick)),
            self.connected(told) if maker == self.me else (),
            told,
            emptied and self._anew(),
            self.pool.pacemaker.published(self.allow).get(self.me, "").strip() if asks else "",
            behind,
            bool(volume and volume.width == 2) and self._memo.read("serves") is None and self.known()[1] != "",
            bool(volume and volume.width == 2) and disk.ahead(self.root) == self.turn(),
            volume is None or self.made(volume, record),
        )


def _machine() -> str:
    """What tells this installation from another one."""
    try:
        with open("/etc/machine-id") as file:
            return file.read().strip() or "-"
    except OSError:
        return "-"
