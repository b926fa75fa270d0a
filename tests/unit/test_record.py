"""Our NamedTuple behaves as the real one, which the type checker takes it for."""

from __future__ import annotations

import pickle
import typing

import pytest
from hafailover.agents import record


class Ours(record.NamedTuple):
    """A record."""

    name: str
    number: int = 7
    more: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        return self.number * 2


class Real(typing.NamedTuple):
    """A record."""

    name: str
    number: int = 7
    more: tuple[str, ...] = ()

    @property
    def twice(self) -> int:
        return self.number * 2


both = pytest.mark.parametrize("kind", [Ours, Real])


@both
def test_values(kind: type[Ours]) -> None:
    one = kind("a", more=("x",))
    assert (one.name, one.number, one.more, one.twice) == ("a", 7, ("x",), 14)
    assert one == ("a", 7, ("x",)) == tuple(one)
    assert hash(one) == hash(("a", 7, ("x",)))
    name, number, _ = one
    assert (name, number) == ("a", 7)
    assert one < kind("b")
    assert repr(one) == f"{kind.__name__}(name='a', number=7, more=('x',))"
    assert one._fields == ("name", "number", "more")
    assert one._asdict() == {"name": "a", "number": 7, "more": ("x",)}
    assert one._replace(number=8) == kind("a", 8, ("x",))
    assert type(one._replace(number=8)) is kind
    assert pickle.loads(pickle.dumps(one)) == one


@both
@pytest.mark.parametrize(
    ("args", "named"), [((), {}), (("a", 1, (), 4), {}), (("a",), {"name": "b"}), (("a",), {"other": 1})]
)
def test_wrong_values(kind: type[Ours], args: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        kind(*args, **named)  # type: ignore[arg-type]


@both
def test_what_it_is_cannot_be_changed(kind: type[Ours]) -> None:
    one = kind("a")
    with pytest.raises(AttributeError):
        one.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        one.other = "b"  # type: ignore[attr-defined]
    with pytest.raises((TypeError, ValueError)):
        one._replace(other=1)
