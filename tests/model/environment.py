"""What happens without the agents: the network, Corosync, the CIB's copies, fencing, power, MariaDB and its clients."""

from __future__ import annotations

from collections.abc import Iterator

from model import world as w
from model.setup import BOTH_NOTICE, Setup, Step, may, spend
from model.world import NAMES, Node, World, each

FIRST_WRITES = 1  # written before the search begins


def steps(setup: Setup, world: World) -> Iterator[Step]:
    yield from _network(setup, world)
    yield from _membership(setup, world)
    yield from _power(setup, world)
    yield from _databases(setup, world)


def heal(setup: Setup, world: World) -> World:
    """The network is whole, the quorum device there, and all nodes have power; nobody has noticed yet."""
    nodes = tuple(node if node.on else _booted(number, node) for number, node in enumerate(world.nodes))
    return world._replace(nodes=nodes, cut=0, device=max(world.device, 0), budget=(0,) * len(world.budget))


# -- the network and who believes what of it -----------------------------------------------------------------------


def _network(setup: Setup, world: World) -> Iterator[Step]:
    if world.cut:
        yield Step("the network heals", world._replace(cut=0))
        if may(world, "swing") and world.device >= 0:
            other = 1 - world.device
            yield Step(
                f"the quorum device changes over to {NAMES[other]}",
                spend(world, "swing")._replace(device=other),
                "fault",
            )
    elif may(world, "cut"):
        spent = spend(world, "cut")
        if setup.nodes == 2:
            for device in (0, 1) if world.device >= 0 and not setup.two_node else (world.device,):
                side = f", the quorum device with {NAMES[device]}" if not setup.two_node and device >= 0 else ""
                yield Step(
                    f"the network between db1 and db2 is cut{side}", spent._replace(cut=1, device=device), "fault"
                )
        else:
            for number in range(setup.nodes):
                yield Step(f"{NAMES[number]} is cut off", spent._replace(cut=1 << number), "fault")
    if may(world, "device") and world.device >= 0 and not setup.two_node and setup.nodes == 2:
        yield Step("the quorum device is lost", spend(world, "device")._replace(device=-1), "fault")


def _quorum(setup: Setup, world: World, mask: int) -> tuple[bool, int]:
    """Whether the partition ``mask`` has quorum, and whom the device votes for then."""
    members = each(mask)
    if setup.nodes == 3:
        return len(members) >= 2, world.device
    if len(members) == 2:
        return True, world.device
    alone = members[0]
    if setup.two_node:
        return world.nodes[alone].complete, world.device
    if world.device == alone or (world.device >= 0 and not world.nodes[world.device].on):
        return True, alone
    return False, world.device


def components(world: World) -> set[int]:
    return {w.reach(world, number) for number, node in enumerate(world.nodes) if node.on}


def _membership(setup: Setup, world: World) -> Iterator[Step]:
    together = BOTH_NOTICE in setup.assume
    late = [mask for mask in sorted(components(world)) if _unseen(setup, world, mask)]
    for mask in late if not together else late[:1]:
        new = world
        for part in late if together else [mask]:
            new = _notice(setup, new, part)
        seen = [
            f"{_list(part)} {'have' if new.nodes[each(part)[0]].quorate else 'without'} quorum"
            for part in (late if together else [mask])
        ]
        yield Step(f"membership: {'; '.join(seen)}", new)
    for mask in sorted(components(world)):
        if mask in late:
            continue
        inside = each(mask)
        nodes = [world.nodes[number] for number in inside]
        pending = [number for number, node in zip(inside, nodes) if node.inbox]
        for number in pending:
            node = world.nodes[number]
            assert node.inbox
            yield Step(
                f"{NAMES[number]}'s copy of the CIB has the write",
                world.put(number, node._replace(cib=node.inbox, inbox=None)),
            )
        if not pending and [node for node in nodes if node.joined != mask]:
            best = max(world.nodes[number].cib.version for number in inside)
            for copy in sorted(
                {world.nodes[number].cib for number in inside if world.nodes[number].cib.version == best}
            ):
                new = world
                clean = 0
                for number in inside:
                    clean |= world.nodes[number].clean
                for number in inside:
                    node = world.nodes[number]
                    heard = node.quorate and copy.text.primary in w.names(mask)
                    minority = node.minority and not heard
                    new = new.put(number, node._replace(joined=mask, cib=copy, clean=clean, minority=minority))
                yield Step(f"{_list(mask)} join; the CIB of version {copy.version} wins: {tell(copy.text)}", new)
        if nodes[0].quorate:
            yield from _fence(world, inside)


def _unseen(setup: Setup, world: World, mask: int) -> bool:
    """Whether somebody in the partition ``mask`` does not know of it yet, or of its quorum."""
    quorate, _ = _quorum(setup, world, mask)
    return bool([o for o in each(mask) if world.nodes[o].members != mask or world.nodes[o].quorate != quorate])


def _notice(setup: Setup, world: World, mask: int) -> World:
    quorate, device = _quorum(setup, world, mask)
    new = world._replace(device=device)
    for number in each(mask):
        node = world.nodes[number]
        joined = sum(1 << o for o in each(node.joined & mask) if world.nodes[o].joined >> number & 1)
        new = new.put(
            number,
            node._replace(
                members=mask, joined=joined, quorate=quorate, clean=node.clean & ~mask,
                minority=(node.minority or not quorate) and node.server != w.DOWN,
                inbox=node.inbox if node.members & node.joined == joined else None,
                complete=node.complete or mask == (1 << setup.nodes) - 1,
            ),
        )  # fmt: skip
    return new


def _fence(world: World, inside: tuple[int, ...]) -> Iterator[Step]:
    first = world.nodes[inside[0]]
    for number, node in enumerate(world.nodes):
        if not first.members >> number & 1 and not first.clean >> number & 1:
            new = power_off(world, number) if node.on else world
            for member in inside:
                new = new.put(member, new.nodes[member]._replace(clean=new.nodes[member].clean | 1 << number))
            yield Step(f"{NAMES[number]} is fenced by {NAMES[inside[0]]}", new)


def tell(text: w.Text) -> str:
    """A journal for the story."""
    if not text.epoch:
        return "no primary was ever recorded"
    sync = ",".join(f"{node}@{life}" for node, life in text.sync)
    return f"epoch={text.epoch} primary={text.primary} gtid={text.gtid} sync={sync} by={text.by}"


def _list(mask: int) -> str:
    return "+".join(NAMES[number] for number in each(mask))


# -- power ---------------------------------------------------------------------------------------------------------


def _power(setup: Setup, world: World) -> Iterator[Step]:
    for number, node in enumerate(world.nodes):
        name = NAMES[number]
        if not node.on:
            yield Step(f"{name} boots", world.put(number, _booted(number, node)))
            continue
        if may(world, "off"):
            yield Step(f"{name} loses power", power_off(spend(world, "off"), number), "fault")
        if node.server != w.DOWN and may(world, "crash"):
            yield Step(f"{name}'s server is killed", spend(world, "crash").put(number, crashed(node)), "fault")
        if may(world, "ban") and node.role == w.UNPROMOTED and not node.doing and node.cib.text.primary != name:
            banned = spend(world, "ban")._replace(banned=world.banned | 1 << number)
            yield Step(f"somebody bans the primary's role from {name}", banned, "fault")
        if node.doing and may(world, "agent"):
            spent = spend(world, "agent")
            if node.doing[0] in ("promote", "demote"):
                # The action fails; Pacemaker restarts the server.
                yield Step(
                    f"{name}'s {node.doing[0]} is killed, so Pacemaker ends its server",
                    spent.put(number, crashed(node)),
                    "fault",
                )
            else:
                yield Step(
                    f"{name}'s helper is killed during {node.doing[0]}",
                    spent.put(number, node._replace(doing=())),
                    "fault",
                )
        if node.sql == "Yes" and node.source >= 0 and node.server == w.READ_ONLY and may(world, "threads"):
            yield Step(
                f"somebody stops both replication threads on {name}",
                spend(world, "threads").put(number, node._replace(sql="No", io="No")),
                "fault",
            )
        if node.source >= 0 and node.server == w.READ_ONLY and not node.doing and may(world, "errant"):
            sequence = node.log[-1][1] + 1 if node.log else 1
            errant = (number, sequence, 100 + number)
            yield Step(
                f"somebody writes on {name}, which is read-only: 0-{number + 1}-{sequence}",
                spend(world, "errant").put(number, node._replace(log=(*node.log, errant))),
                "fault",
            )


def crashed(node: Node) -> Node:
    """The server has died. What waits stays in its binary log; relay log does not survive the START SLAVE that must follow."""
    return node._replace(
        server=w.DOWN, tail=node.tail if node.server == w.DOWN else (len(node.waiting), node.server == w.WRITABLE),
        waiting=(), relay=(), enforcing=False, io="No", sql="No", doing=(), held=w.NOT_HELD, minority=False,
    )  # fmt: skip


def power_off(world: World, number: int) -> World:
    """Everything on the node ends; its disk stays."""
    node = crashed(world.nodes[number])
    return world.put(
        number,
        node._replace(
            on=False, members=0, joined=0, quorate=False, complete=False, clean=0, inbox=None, recorded=None, role=w.STOPPED,
            reign=0, published="", final=None, received=None, admitted=(),
        ),
    )  # fmt: skip


def _booted(number: int, node: Node) -> Node:
    return node._replace(on=True, members=1 << number, joined=1 << number)


# -- MariaDB -------------------------------------------------------------------------------------------------------


def _databases(setup: Setup, world: World) -> Iterator[Step]:
    for number, node in enumerate(world.nodes):
        if node.server == w.WRITABLE and world.writes < setup.writes + FIRST_WRITES:
            yield _write(world, number, node)
        if node.waiting:
            yield from _acknowledge(world, number, node)
        if w.connected(world, number):
            yield from _receive(world, number, node)
        if node.sql == "Yes" and node.relay:
            yield _apply(world, number, node)


def _write(world: World, number: int, node: Node) -> Step:
    sequence = node.log[-1][1] + 1 if node.log else 1
    write = world.writes
    new = node._replace(log=(*node.log, (number, sequence, write)))
    world = world._replace(writes=write + 1)
    says = f"a client writes w{write} on {NAMES[number]} (0-{number + 1}-{sequence})"
    if node.enforcing:
        return Step(f"{says} and waits", world.put(number, new._replace(waiting=(*node.waiting, write))))
    return Step(f"{says}: acknowledged", world._replace(acknowledged=world.acknowledged | 1 << write).put(number, new))


def _acknowledge(world: World, number: int, node: Node) -> Iterator[Step]:
    for other, peer in enumerate(world.nodes):
        if peer.source == number and w.connected(world, other) and w.has(peer, node.waiting[0]):
            released = tuple(write for write in node.waiting if w.has(peer, write))
            yield Step(
                f"{NAMES[other]}'s acknowledgement releases {_writes(released)} on {NAMES[number]}",
                acknowledge(world, released).put(
                    number, node._replace(waiting=tuple(write for write in node.waiting if write not in released))
                ),
            )


def acknowledge(world: World, writes: tuple[int, ...]) -> World:
    """The clients of ``writes`` are told OK."""
    mask = world.acknowledged
    for write in writes:
        mask |= 1 << write
    return world._replace(acknowledged=mask)


def _writes(writes: tuple[int, ...]) -> str:
    return ", ".join(f"w{write}" for write in writes)


def _receive(world: World, number: int, node: Node) -> Iterator[Step]:
    source = world.nodes[node.source].log
    at = w.end(node)
    begin = 0
    if at is not None:
        places = [place for place, entry in enumerate(source) if entry[:2] == at]
        if not places:
            yield Step(
                f"{NAMES[number]} asks {NAMES[node.source]} for {w.gtid_text(at)}, which is not there (error 1236)",
                world.put(number, node._replace(io="Wrong")),
            )
            return
        begin = places[0] + 1
    if begin < len(source):
        entry = source[begin]
        yield Step(
            f"{NAMES[number]} receives 0-{entry[0] + 1}-{entry[1]} from {NAMES[node.source]}",
            world.put(number, node._replace(relay=(*node.relay, entry))),
        )


def _apply(world: World, number: int, node: Node) -> Step:
    entry, rest = node.relay[0], node.relay[1:]
    gtid = entry[:2]
    says = f"{NAMES[number]} applies {w.gtid_text(gtid)}"
    if entry[0] == number and not node.strict:
        # Its own server id: taken for its own transaction that has come round, and skipped.
        skipped = (*gtid, w.SKIPPED)
        return Step(
            f"{says}: its own, skipped",
            world.put(number, node._replace(log=(*node.log, skipped), relay=rest, applied=gtid)),
        )
    if node.log and entry[1] <= node.log[-1][1] and node.strict:
        return Step(f"{says}: out of order (error 1950)", world.put(number, node._replace(sql="Wrong")))
    return Step(says, world.put(number, node._replace(log=(*node.log, entry), relay=rest, applied=gtid)))
