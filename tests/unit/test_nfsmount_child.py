"""Work on a mount that may hang, in ocf:hafailover:nfsmount: the child that does it, and what a probe makes of its silence."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

from hafailover.agents import child, mounts, proc
from hafailover.agents.child import Left
from hafailover.agents.nfsmount import probe
from mount_tables import NFS


def test_a_child_answers():
    assert child.ask(lambda: "yes", 10).text == "yes"


def test_an_error_of_the_kernel_comes_back_with_its_number():
    answer = child.ask(lambda: str(os.stat("/nonexistent")), 10)
    assert child.error(answer.text) == (errno.ENOENT, "No such file or directory")


def test_a_child_that_hangs_is_killed_and_waited_for_no_longer_than_asked():
    begun = time.monotonic()
    answer = child.ask(lambda: time.sleep(600) or "", 0.2)
    assert answer == (None, None)
    assert time.monotonic() - begun < 60


def test_lines_that_came_before_the_hang_are_not_lost():
    def work():
        yield "one"
        yield "two"
        time.sleep(600)

    assert child.lines(work, 0.5) == ["one", "two"]


def test_a_child_that_even_kill_does_not_end_is_left_and_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path))
    (mount,) = mounts.parse(NFS)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        left = Left(sleeper.pid, proc.started(sleeper.pid))
        asked = []
        monkeypatch.setattr(child, "ask", lambda work, seconds: asked.append(1) or child.Answer(None, left))
        first = probe.look("r", mount, 0, 5)
        assert first.silent is not None
        second = probe.look("r", mount, 0, 5)
        assert second.silent >= first.silent
        assert asked == [1], "no second child while the first one hangs"
        other = mount._replace(id=99)
        assert probe.look("r", other, 0, 5).silent is not None
        assert asked == [1, 1], "another mount is asked anew"
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()
        monkeypatch.setattr(child, "ask", lambda work, seconds: child.Answer("answers", None))
        back = probe.look("r", other, 0, 5)
        assert back.silent is None
        assert back.before > 0
        probe.forget("r")
        assert probe.look("r", other, 0, 5).before == 0
    finally:
        sleeper.kill()


def test_a_child_that_ends_without_an_answer_is_no_good_news(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(child, "ask", lambda work, seconds: child.Answer("", None))
    assert probe.look("r", mounts.parse(NFS)[0], 0, 5).error == errno.EIO


def test_a_probe_of_a_directory_that_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "RUN_DIR", str(tmp_path / "run"))
    mount = mounts.parse(NFS)[0]._replace(point=str(tmp_path))
    assert probe.look("r", mount, probe.WRITE, 30, "n1") == (None, 0.0, 0, "")
    assert os.listdir(tmp_path) == []
    gone = mount._replace(point=str(tmp_path / "gone"))
    assert probe.look("r", gone, 0, 30).error == errno.ENOENT
