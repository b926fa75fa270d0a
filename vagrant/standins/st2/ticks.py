"""Timers and sensors: one tick in each second, recorded so that a second one would be seen. Test equipment."""

from __future__ import annotations

import time
import uuid
from typing import Callable

from hafailover.vagrant.standins.st2 import bus, config
from hafailover.vagrant.standins.st2.store import Store, insist


def serve(unit: str, ended: Callable[[], bool]) -> None:
    """Tick at every full second after the start; a tick that could not be recorded in time is left out, not made up."""
    store, publisher, life = Store(), bus.Publisher(), uuid.uuid4().hex
    config.say(f"ticking as life {life}")
    tick = int(time.time()) + 1
    while not ended():
        left = tick - time.time()
        if left > 0:
            time.sleep(min(left, 0.2))
            continue
        _fire(store, publisher, unit, tick, life, ended)
        tick = max(tick + 1, int(time.time()) + 1)
    publisher.close()
    store.close()


def _fire(store: Store, publisher: bus.Publisher, unit: str, tick: int, life: str, ended: Callable[[], bool]) -> None:
    identity = uuid.uuid4().hex  # one name however often it has to be written
    if insist(lambda: store.tick(identity, unit, tick, life), time.sleep, ended):
        try:
            publisher.publish(bus.TRIGGERS, f"{unit} {tick}")
        except bus.LOST as error:
            config.say(f"tick {tick} found no broker: {error!r}")
