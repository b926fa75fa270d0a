"""One stand-in for each of StackStorm's services: ``main([ROLE])``, the role being a unit's name. Test equipment."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence

from hafailover.vagrant.standins.st2 import config

_STOP = threading.Event()
_RELAYS = {"st2notifier": "ENDED", "st2rulesengine": "TRIGGERS", "st2workflowengine": "WORKFLOWS"}


def main(argv: Sequence[str]) -> None:
    """Be the service ``argv[0]`` until SIGTERM."""
    role = argv[0]
    signal.signal(signal.SIGTERM, lambda number, frame: _STOP.set())
    if config.flag("die") in ("", role):
        config.say("cannot start, as a test has ordered")
        sys.exit(1)
    wait = config.flag("slow-start")
    if wait:
        time.sleep(float(wait))
    _serve(role)
    config.say(f"{role} has ended")


def _serve(role: str) -> None:
    # Each role imports what it needs: twenty of them start at once.
    if role in ("st2api", "st2auth", "st2stream"):
        from hafailover.vagrant.standins.st2 import api

        api.serve(role[len("st2") :], _STOP.is_set)
    elif role == "st2timersengine" and not config.timers_enabled():
        config.say("timers are disabled")
    elif role in ("st2timersengine", "st2sensorcontainer"):
        from hafailover.vagrant.standins.st2 import ticks

        ticks.serve(role, _STOP.is_set)
    elif role in ("st2garbagecollector", "st2chatops"):
        _STOP.wait()
    else:
        from hafailover.vagrant.standins.st2 import bus, roles

        if role == "st2actionrunner":
            roles.Runner(_STOP.is_set).serve()
        elif role == "st2scheduler":
            roles.scheduler(_STOP.is_set)
        elif role in _RELAYS:
            roles.relay(getattr(bus, _RELAYS[role]), _STOP.is_set)
        else:
            sys.exit(f"there is no stand-in for {role}")
