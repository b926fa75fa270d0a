"""The services that consume: scheduler, action runner, and those that only take their messages. Test equipment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import Callable

import pymysql
from hafailover.vagrant.standins.st2 import bus, config
from hafailover.vagrant.standins.st2.store import Store, insist

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PREFETCH = 4
_LOOK = 0.05  # seconds between two looks at running actions
_OUTPUT = 60000


def relay(queue: str, ended: Callable[[], bool]) -> None:
    """Take messages and acknowledge them: what st2notifier, st2rulesengine and st2workflowengine need not do here."""
    consumer = bus.Consumer(queue, _PREFETCH)
    while not ended():
        consumer.wait(0.5)
        while consumer.deliveries:
            consumer.done(consumer.deliveries.pop(0)[0])
    consumer.close()


def scheduler(ended: Callable[[], bool]) -> None:
    """Take requested executions, mark them scheduled, and hand them to the action runners; only then acknowledge."""
    consumer, store = bus.Consumer(bus.REQUESTED, _PREFETCH), Store()
    while not ended():
        if not consumer.wait(0.5):
            continue
        while consumer.deliveries:
            tag, identity = consumer.deliveries.pop(0)
            if not insist(lambda i=identity: store.advance(i, "scheduled"), time.sleep, ended):  # type: ignore[misc]
                break
            try:
                consumer.publish(bus.SCHEDULED, identity)
            except bus.LOST:
                break  # it is delivered again, and scheduled again: at least once
            consumer.done(tag)
    consumer.close()


class Run:
    """An action that runs: the delivery it came with, its process (None: nothing to run), and what is known of its end."""

    def __init__(self, tag: int, identity: str) -> None:
        self.tag, self.identity = tag, identity
        self.process: subprocess.Popen[str] | None = None
        self.output = ""


class Runner:
    """Runs actions as processes, several at once, and goes on talking to the broker meanwhile."""

    def __init__(self, ended: Callable[[], bool]) -> None:
        self._ended = ended
        self._consumer, self._store = bus.Consumer(bus.SCHEDULED, _PREFETCH), Store()
        self._running: list[Run] = []

    def serve(self) -> None:
        """Until told to end; then take nothing new and wait for what runs."""
        while not self._ended():
            if not self._consumer.wait(_LOOK if self._running else 0.5):
                self._abandon()
                continue
            while self._consumer.deliveries:
                self._begin(*self._consumer.deliveries.pop(0))
            self._collect()
        self._consumer.pause()
        end = time.monotonic() + config.exit_still_active()
        config.say(f"stopping: {len(self._running)} actions run")
        while self._running and time.monotonic() < end:
            self._consumer.wait(_LOOK)
            self._collect()
        self._abandon()
        self._consumer.close()

    def _begin(self, tag: int, identity: str) -> None:
        run = Run(tag, identity)
        try:
            row = self._store.get(identity)
            if row is None or row["status"] in ("succeeded", "failed"):
                self._consumer.done(tag)
                return
            self._store.advance(identity, "running", node=os.uname().nodename, started=time.time())
        except (pymysql.Error, OSError) as error:  # the broker delivers it again
            config.say(f"{identity} is put back: {error}")
            self._consumer.close()
            self._consumer = bus.Consumer(bus.SCHEDULED, _PREFETCH)
            self._abandon()
            time.sleep(1)
            return
        try:
            run.process = self._spawn(row["action"], json.loads(row["parameters"]))
        except (OSError, ValueError) as error:
            self._end(run, "failed", str(error))
            return
        self._running.append(run)
        if run.process is None:
            self._collect()

    def _spawn(self, action: str, parameters: dict[str, object]) -> subprocess.Popen[str] | None:
        """The action's process; None for core.noop, which is part of the service. OSError, ValueError."""
        if action == "core.noop":
            return None
        words = action.split(".")
        if len(words) != 2 or not all(_NAME.fullmatch(word) for word in words):
            raise ValueError(f"{action!r} is no name of an action")
        script = config.PACKS / words[0] / "actions" / f"{words[1]}.sh"
        text = script.read_text()  # from the content directory, each time
        environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        environ.update((f"ST2_{name.upper()}", str(value)) for name, value in parameters.items())
        return subprocess.Popen(
            ["/bin/sh", "-c", text, action], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _collect(self) -> None:
        """Record the end of every action that has ended, and acknowledge it."""
        for run in list(self._running):
            if run.process is None:
                self._running.remove(run)
                self._end(run, "succeeded", "")
            elif run.process.poll() is not None:
                self._running.remove(run)
                output = run.process.stdout.read(_OUTPUT) if run.process.stdout else ""
                self._end(run, "succeeded" if run.process.returncode == 0 else "failed", output)

    def _end(self, run: Run, status: str, output: str) -> None:
        def record() -> None:
            self._store.advance(run.identity, status, result=output[:_OUTPUT], ended=time.time())

        if insist(record, time.sleep, lambda: False):
            try:
                self._consumer.publish(bus.ENDED, run.identity)
            except (*bus.LOST, AttributeError):  # nobody waits for it
                return
            self._consumer.done(run.tag)

    def _abandon(self) -> None:
        """The broker will deliver again what is not acknowledged, so nobody may finish it here."""
        for run in self._running:
            if run.process is not None:
                run.process.kill()
                run.process.wait()
        self._running = []
