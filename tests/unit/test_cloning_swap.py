"""The exchange of a data directory for a clone: interrupted at every step, it ends as the old one or the new one, and loses neither."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest
from hafailover.agents.mariadb.cloning import swap
from hafailover.agents.mariadb.cloning.swap import PLACED, SWAPPED, Swap, SwapError

OLD = {"ibdata1": "old", "mysql/user.MAD": "old", "shop/orders.ibd": "old", "mariadb-bin.000001": "old"}
NEW = {"ibdata1": "new", "mysql/user.MAD": "new", "shop/customers.ibd": "new"}
MUTATIONS = ("rename", "unlink", "mkdir", "fsync")


class Crash(BaseException):
    """The machine lost its power here."""


def fill(directory: str | Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tree(directory: str | Path) -> dict[str, str]:
    found = {}
    for path in Path(directory).rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_file() and not name.startswith((".hafailover/", "lost+found/")):
            found[name] = path.read_text()
    return found


@pytest.fixture(params=["beside", "inside"])
def datadir(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory; "inside" is one that is a file system of its own."""
    path = tmp_path / "mysql"
    path.mkdir()
    if request.param == "inside":
        monkeypatch.setattr(os.path, "ismount", lambda name: str(name) == str(path))
        (path / "lost+found").mkdir()
    fill(path, OLD)
    return path


def ready(datadir: Path) -> Swap:
    exchange = Swap(str(datadir))
    exchange.prepare()
    fill(exchange.new, NEW)
    return exchange


def crashing(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], Any]) -> bool:
    """Run ``act`` and lose power before its ``step``-th change to the file system; whether it came so far."""
    seen = 0

    def before(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def wrapped(*args: Any, **more: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                raise Crash
            return real(*args, **more)

        return wrapped

    with monkeypatch.context() as patch:
        for name in MUTATIONS:
            patch.setattr(swap.os, name, before(name))
        try:
            act()
        except Crash:
            return True
    return False


def test_the_clone_takes_the_place_of_the_old_data(datadir: Path) -> None:
    exchange = ready(datadir)
    exchange.exchange({"position": "0-1-5"})
    assert (tree(datadir), tree(exchange.old), exchange.phase) == (NEW, OLD, SWAPPED)
    assert swap.interrupted(str(datadir))
    exchange.placed()
    assert exchange.facts() == {"position": "0-1-5", "phase": PLACED}
    assert exchange.finish("") == ""
    assert (tree(datadir), exchange.phase, exchange.quarantine()) == (NEW, "", [])
    assert not os.path.exists(exchange.old) and not swap.interrupted(str(datadir))


def test_every_interrupted_exchange_is_finished_by_the_next_start(
    datadir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        exchange = ready(datadir)
        crashed = crashing(monkeypatch, step, partial(exchange.exchange, {"position": "0-1-5"}))
        again = Swap(str(datadir))
        phase = again.recover()
        if phase:
            assert (phase, tree(datadir), tree(again.old)) == (SWAPPED, NEW, OLD), step
            assert again.facts()["position"] == "0-1-5"
            again.undo()
        assert (tree(datadir), again.phase) == (OLD, ""), step
    assert step > 12, "it was interrupted at every rename and every sync"


def test_every_interrupted_undoing_is_finished(datadir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        exchange = ready(datadir)
        exchange.exchange({})
        crashed = crashing(monkeypatch, step, exchange.undo)
        again = Swap(str(datadir))
        if again.recover() == SWAPPED:
            again.undo()
        assert (tree(datadir), again.phase) == (OLD, ""), step
    assert step > 12


def test_an_undoing_of_a_half_done_exchange_brings_back_the_old_data(
    datadir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        exchange = ready(datadir)
        crashed = crashing(monkeypatch, step, partial(exchange.exchange, {}))
        again = Swap(str(datadir))
        if again.phase:
            again.undo()
        assert (tree(datadir), again.phase) == (OLD, ""), step


@pytest.mark.parametrize("keep", ["", "20260101-000000"])
def test_every_interrupted_end_is_reached(datadir: Path, monkeypatch: pytest.MonkeyPatch, keep: str) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        exchange = ready(datadir)
        exchange.exchange({})
        exchange.placed()
        crashed = crashing(monkeypatch, step, partial(exchange.finish, keep))
        again = Swap(str(datadir))
        if again.recover() == PLACED:
            again.finish(keep)
        assert (tree(datadir), again.phase) == (NEW, ""), step
        assert [tree(path) for path in again.quarantine()] == ([OLD] if keep else []), step
        assert len(again.discard_quarantine()) == bool(keep)
        for name in os.listdir(datadir):
            if name not in ("lost+found", ".hafailover"):
                os.rename(datadir / name, again.work + "/" + name)
        for name in NEW:
            (Path(again.work) / name).unlink()
        for name in ("mysql", "shop"):
            (Path(again.work) / name).rmdir()
        fill(datadir, OLD)


def test_a_clone_that_is_in_use_is_not_undone(datadir: Path) -> None:
    exchange = ready(datadir)
    exchange.exchange({})
    exchange.placed()
    with pytest.raises(SwapError, match="in use already"):
        exchange.undo()
    with pytest.raises(SwapError, match="under way"):
        exchange.prepare()


def test_what_an_earlier_attempt_left_is_removed_but_never_data(datadir: Path) -> None:
    exchange = ready(datadir)
    fill(exchange.new, {"half": "a file"})
    exchange.prepare()
    assert tree(exchange.new) == {} and tree(datadir) == OLD
    fill(exchange.old, OLD)
    with pytest.raises(SwapError, match="holds data that no exchange accounts for"):
        exchange.prepare()


def test_an_empty_clone_is_no_clone(datadir: Path) -> None:
    exchange = Swap(str(datadir))
    exchange.prepare()
    with pytest.raises(SwapError, match="no clone"):
        exchange.exchange({})
    assert tree(datadir) == OLD


def test_a_damaged_state_file_stops_everything(datadir: Path) -> None:
    exchange = ready(datadir)
    Path(exchange.work, "state").write_text("{")
    with pytest.raises(SwapError, match="cannot read"):
        exchange.recover()
    assert swap.interrupted(str(datadir))


def test_blank_is_empty_or_missing(datadir: Path) -> None:
    assert not swap.blank(str(datadir))
    assert swap.blank(str(datadir / "none"))
    empty = datadir / "empty"
    (empty / "lost+found").mkdir(parents=True)
    assert swap.blank(str(empty))
