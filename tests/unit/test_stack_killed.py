"""What is left of a command that was killed."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys; sys.path.insert(0, {tests!r}); import conftest, time
from hafailover.crm import local, stack_preferences
from hafailover.crm.stack import Mover
stack_preferences._MARGIN = 0.0
local._PATH = {place!r}
made = stack_preferences.Preferences(local.run, 0.5, False)
made.make({{Mover("app", "", ("app",), "app"): "n2"}})
print("made", flush=True)
{then}
"""


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_killed_command_has_made_is_removed_when_it_has_ended(tmp_path, killed):
    log = tmp_path / "log"
    program = tmp_path / "cibadmin"
    program.write_text(f'#!/bin/sh\necho "$@" >>{log}\n')
    program.chmod(0o755)
    then = "time.sleep(60)" if killed else "made.remove()"
    # Who started it (cron) has Pacemaker's tools in no path of his.
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), then=then, place=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "made\n"
    if killed:
        process.send_signal(signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    end = time.monotonic() + 15
    while "--delete-all" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.0 if killed else 1.2)
    calls = log.read_text().splitlines()
    assert len(calls) == 2
    assert "--modify --allow-create" in calls[0]
    assert re.search(
        r"--delete-all --force --xpath //constraints/rsc_location\[rule\[starts-with\(@id,'hafailover-stack-\w{8}-'\)\]\]",
        calls[1],
    )
