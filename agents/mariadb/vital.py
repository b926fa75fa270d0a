"""What the kernel says of a server process that does not answer: whether it has ended, works, or hangs in the kernel.

Only read when something is wrong; a monitor of a healthy server never comes here.
"""

from __future__ import annotations

import time

from hafailover.agents import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.server import Process

_SAMPLES = 10
_SAMPLE_EVERY = 0.03  # seconds
_WORKING = 3  # of these samples with a thread on a processor, or queued for one


def gone(process: Process) -> bool:
    """Tell whether the process has ended with every thread of it.

    The main thread is a zombie as soon as it is killed, while another one may still hang in the kernel with the data files open and
    locked: until that has ended, too, nothing else may be started on them.
    """
    fields = proc.stat(f"/proc/{process.pid}/stat")
    if fields is None or fields[19] != process.started:
        return True
    return fields[0] in "ZX" and len(proc.states(process.pid)) <= 1


def hangs_dead(process: Process) -> bool:
    """Tell whether all that is left of a killed process hangs in the kernel, from where it will not come back to its program."""
    return proc.hang(process.pid)


def stuck(process: Process) -> bool:
    """Tell whether a thread is in uninterruptible sleep, which no signal ends: its disk does not answer."""
    return "D" in proc.states(process.pid)


def busy(process: Process) -> bool:
    """Tell whether the process computes, or would if it were given a processor. Takes a third of a second.

    One that is stopped, deadlocked or waits for a disk is not: this is what tells an overloaded server from a hung one.
    """
    working = 0
    for _ in range(_SAMPLES):
        if "R" in proc.states(process.pid):
            working += 1
        time.sleep(_SAMPLE_EVERY)
    return working >= _WORKING
