"""StackStorm's services: which run where, what each holds on to, and what the parameter ``units`` means. Pure.

Names are those of the units of StackStorm's packages, without ``.service``. The action runners are instances of a
template, st2actionrunner@1, st2actionrunner@2 and so on; a rule for st2actionrunner is one for all of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RUNNER = "st2actionrunner"

# In the order in which they are started: who does the work first, then who takes it in.
ACTIVE = (
    "st2notifier", "st2workflowengine", RUNNER, "st2scheduler", "st2rulesengine", "st2auth", "st2stream", "st2api",
)  # fmt: skip
# A second timer fires every rule twice, a second bot answers twice, a second sensor sees everything twice.
SINGLETON = ("st2garbagecollector", "st2timersengine", "st2sensorcontainer", "st2chatops")

WORDS = {"active": ACTIVE, "singleton": SINGLETON}

HTTP = ("st2api", "st2auth", "st2stream")

# What a unit must let finish when it is stopped. The others have nothing that a moment's interruption would lose.
DRAINED = (RUNNER, "st2workflowengine", "st2scheduler")

# Units that keep a consumer open at the broker for as long as they live. The others connect when they publish.
CONSUMERS = (
    RUNNER, "st2scheduler", "st2workflowengine", "st2rulesengine", "st2notifier", "st2timersengine",
    "st2sensorcontainer",
)  # fmt: skip

# Who has to begin anew when what they use began anew. st2api and st2auth connect for each request, and whether they
# serve is asked of them by each monitor; st2stream listens at the broker for its clients.
NEEDS = {
    "broker": (*CONSUMERS, "st2stream"),
    "database": (*CONSUMERS, "st2garbagecollector"),
    "content": (RUNNER, "st2sensorcontainer"),
}
KINDS = (*NEEDS, "all")


def base(name: str) -> str:
    """``st2actionrunner@3`` → ``st2actionrunner``."""
    return name.partition("@")[0]


class Wanted:
    """The parameter ``units``: the names it stands for, those that were named one by one, those left out."""

    __slots__ = ("explicit", "names")

    def __init__(self, text: str) -> None:
        """ValueError with the reason if ``text`` is not a list of words and units."""
        names: list[str] = []
        explicit: list[str] = []
        without: list[str] = []
        for word in text.replace(",", " ").split():
            plain = word[: -len(".service")] if word.endswith(".service") else word
            if word in WORDS:
                names += [name for name in WORDS[word] if name not in names]
            elif plain.startswith("-") and _is_unit(plain[1:]):
                without.append(plain[1:])
            elif _is_unit(plain):
                explicit.append(plain)
                names += [plain] if plain not in names else []
            else:
                raise ValueError(f"not a list of units: {word!r}; write active, singleton, or names such as st2api")
        self.names = tuple(name for name in names if name not in without)
        self.explicit = tuple(name for name in explicit if name not in without)
        if not self.names:
            raise ValueError("empty; write active, singleton, or names such as st2api")


def _is_unit(name: str) -> bool:
    return bool(name) and name[0].isalpha() and all(c.isalnum() or c in "_.@:" for c in name)


def watched(text: str) -> dict[str, str]:
    """The parameter ``watch``, ``mq=broker mnt=content db``, as resource → kind. ValueError with the reason."""
    found = {}
    for word in text.replace(",", " ").split():
        resource, _, kind = word.partition("=")
        if not resource or (kind or "all") not in KINDS:
            raise ValueError(f"not a list of RESOURCE=KIND: {word!r}; a kind is {', '.join(KINDS)}")
        found[resource] = kind or "all"
    return found


def needing(names: Iterable[str], kinds: Sequence[str]) -> list[str]:
    """Those of ``names`` that have to begin anew when something of one of these kinds did."""
    return [name for name in names if "all" in kinds or any(base(name) in NEEDS[kind] for kind in kinds)]


def urls(params: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The URL to ask of each unit that has one; the parameters are called api, auth and stream."""
    return {name: params[name[len("st2") :]] for name in names if name in HTTP}
