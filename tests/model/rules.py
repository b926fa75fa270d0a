"""Facts of the modelled world, put to the real rules. A rule that is left out is blinded: it is shown facts with which it is content."""

from __future__ import annotations

from functools import cache

from hafailover.agents.mariadb import decide, lineage, recovery
from hafailover.agents.mariadb.decide import Replica, Standing

from model import world as w
from model.setup import Setup
from model.world import NAMES, Text, World, each

Pairs = tuple[tuple[str, str], ...]


@cache
def _ask(
    question: str, node: str, nodes: tuple[str, ...], online: frozenset[str], quorate: bool, text: Text, incarnation: str,
    reigns: tuple[tuple[str, int], ...], lives: Pairs, replica: Replica | None, state: str, positions: Pairs, doubt: str,
) -> tuple[int, str | None]:  # fmt: skip
    facts = Standing(
        node=node, nodes=nodes, online=online, quorate=quorate, journal=w.journal(text), incarnation=incarnation,
        reigns=dict(reigns), lives=dict(lives), replica=replica, state=state, positions=dict(positions), doubt=doubt,
    )  # fmt: skip
    if question == "score":
        return decide.promotion_score(facts)
    if question == "standing":
        return 0, decide.standing_refusal(facts)
    return 0, decide.promotion_refusal(facts)


def _put(setup: Setup, world: World, number: int, question: str) -> tuple[int, str | None]:
    """As ``roles.standing`` gathers it: a hint asks for less."""
    node, without = world.nodes[number], setup.without
    hint = question == "score"
    text = node.cib.text
    name = NAMES[number]
    nodes = NAMES[: setup.nodes]
    alone = text.primary in ("", name)
    online = w.names(node.joined) if alone or setup.nodes > 2 else frozenset(nodes)
    visible = [(other, world.nodes[other]) for other in each(node.joined)]
    others = [peer for peer, _ in text.sync if peer != name]
    positions: Pairs = ()
    if not text.epoch:
        positions = tuple((NAMES[o], w.state(peer.log, peer.applied)) for o, peer in visible if peer.server != w.DOWN)
    elif not hint and others:
        positions = tuple(
            (NAMES[o], peer.received[1]) for o, peer in visible if peer.received and peer.received[0] == text.epoch
        )
    reigns = tuple((NAMES[o], peer.reign) for o, peer in visible if peer.reign) if alone or not hint else ()
    lives = tuple((NAMES[o], peer.published) for o, peer in visible) if not hint and others else ()
    replica = w.replica(world, number)
    incarnation = w.life(number, node)
    state = w.state(node.log, node.applied)
    quorate = True if hint else node.quorate
    doubt = "without quorum since" if node.minority and "minority" not in without else ""
    # -- what a planted bug does not look at
    if "quorum of a promotion" in without:
        quorate = True
    if "reigns" in without:
        reigns = ()
    if "absent nodes" in without:
        online = frozenset(nodes)
    if "first primary by data" in without and not text.epoch:
        online, positions = frozenset(nodes), tuple((other, state) for other in nodes)
        positions = tuple(
            (other, "" if other != name and nodes.index(other) < nodes.index(name) else state) for other in nodes
        )
    if "life" in without and dict(text.sync).get(name):
        incarnation = dict(text.sync)[name]
    if "in sync" in without and not alone:
        text = text._replace(sync=((name, incarnation or "b.0.0"),))
        incarnation = incarnation or "b.0.0"
    if "errant" in without and replica is not None:
        state = replica.applied
    if "working SQL thread" in without and replica is not None:
        replica = replica._replace(sql=True, sql_errno=0)
    if "election" in without and question == "promotion":
        question = "standing"
    return _ask(
        question,
        name,
        nodes,
        online & frozenset(nodes),
        quorate,
        text,
        incarnation,
        reigns,
        lives,
        replica,
        state,
        positions,
        doubt,
    )


def score(setup: Setup, world: World, number: int) -> int:
    """The promotion score that a monitor would set now."""
    node = world.nodes[number]
    if node.server != w.READ_ONLY or node.diverged:
        return decide.SCORE_NEVER
    return _put(setup, world, number, "score")[0]


def promotion_refusal(setup: Setup, world: World, number: int) -> str | None:
    return _put(setup, world, number, "promotion")[1]


@cache
def divergence(mine: str, theirs: str, primary: str) -> str | None:
    return decide.divergence(mine, theirs, primary)


@cache
def start(
    text: Text,
    node: str,
    promoted: str,
    closed: bool,
    reigning: bool,
    absent: tuple[str, ...],
    heirs: tuple[str, ...],
) -> str:
    """How a server starts: ``hold``, ``truncate`` or ``keep``. Its lineage only ever says what ``closed`` says here."""
    choice = recovery.choose(
        recovery.Facts(node, w.journal(text), promoted, (10, 11, 19), closed, lineage.NONE, reigning, absent, heirs)
    )
    return "hold" if choice.wait_for else "truncate" if choice.truncates else "keep"


@cache
def setback(seen: Text, recorded: Text | None, node: str) -> str | None:
    return decide.setback(w.journal(seen), w.journal(recorded) if recorded else None, node)


@cache
def conflict(base: Text, copies: tuple[tuple[str, Text], ...]) -> str | None:
    return decide.record_conflict(w.journal(base), {name: w.journal(text) for name, text in copies})


@cache
def release_refusal(
    entry: Text, node: str, before: bool, after: bool, copies: tuple[tuple[str, Text], ...]
) -> str | None:
    return decide.release_refusal(
        w.journal(entry), node, before, after, {name: w.journal(text) for name, text in copies}
    )


@cache
def degrade_reason(enforcing: bool, clients: int, waiting: bool) -> str | None:
    """With time taken out: a replica that is gone has been so for long, a wait may be long."""
    return decide.degrade_reason(decide.SemiSync(enforcing, clients, waiting, 60.0, 60.0 if waiting else 0.0), 1.0)


def regain_refusal(setup: Setup, world: World, asking: int, number: int, life: str, position: str) -> str | None:
    """As ``regain`` puts the question about node ``number`` over the network."""
    node, primary = world.nodes[number], world.nodes[asking]
    mine = w.state(primary.log, primary.applied)
    differs = divergence(w.state(node.log, node.applied), mine, NAMES[asking])
    if differs and "divergence" not in setup.without:
        return differs
    return _regain(NAMES[number], life, w.replica(world, number), node.server == w.READ_ONLY, True, position)


@cache
def _regain(
    name: str, life: str, replica: Replica | None, read_only: bool, semi_sync: bool, position: str
) -> str | None:
    return decide.regain_refusal(decide.Peer(name, life, replica, read_only, semi_sync), position)


@cache
def counted(
    sync: Pairs, published: Pairs, peers: frozenset[str], clean: frozenset[str], without: frozenset[str]
) -> Pairs:
    """As ``regain.regain``: the lives that the journal must name."""
    known = dict(published)
    lives = decide.acknowledging(known, peers)
    if frozenset(dict(sync)) - known.keys() and "lost members" not in without:
        lives = decide.still_counted(dict(sync), known, lives, clean)
    return tuple(sorted(lives.items()))
