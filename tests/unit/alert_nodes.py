"""Two nodes of a cluster as the alert service sees them: real agents and services, stand-ins for Pacemaker's tools, a real web server."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hafailover.crm import install

TOOLS = {
    "cibadmin": 'cat "$HAFAILOVER_FAKE/members"',
    # -p -n NAME -U VALUE, or -Q -A -n NAME
    "attrd_updater": """
case "$1" in
  -Q) for file in "$HAFAILOVER_FAKE"/"$4"@*; do
        [ ! -f "$file" ] || printf 'name="%s" host="%s" value="%s"\\n' "$4" "${file##*@}" "$(cat "$file")"
      done ;;
  -p) printf %s "$5" > "$HAFAILOVER_FAKE/.$$" && mv "$HAFAILOVER_FAKE/.$$" "$HAFAILOVER_FAKE/$3@$HAFAILOVER_FAKE_NODE" ;;
esac""",
}  # fmt: skip

RESOURCE = {"kind": "resource", "rsc": "db", "task": "start", "rc": "0", "target_rc": "0", "status": "0", "desc": "ok"}


class Cluster:
    """What Pacemaker's tools answer on every node, in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "bin").mkdir(parents=True)
        for name, script in TOOLS.items():
            (directory / "bin" / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
            (directory / "bin" / name).chmod(0o755)
        self.texts = {one.path.name: one.text for one in install.launchers() if one.path.parent == install.HOOKS_DIR}

    def members(self, *names: str) -> None:
        lines = [
            f'<node_state id="{number}" uname="db{number}" crmd="{"online" if on else "offline"}" join="{"member" if on else "down"}"/>'
            for number, on in ((number, f"db{number}" in names) for number in (1, 2))
        ]
        (self.directory / "new").write_text("\n".join(lines))
        (self.directory / "new").rename(self.directory / "members")
        for gone in {"db1", "db2"} - set(names):
            for file in self.directory.glob(f"*@{gone}"):
                file.unlink()


class Node:
    """A node with its spool and its service."""

    def __init__(self, cluster: Cluster, name: str, recipients: dict) -> None:
        self.name, self.cluster = name, cluster
        self.root = cluster.directory / name
        (self.root / "inbox").mkdir(parents=True)
        self.config = self.root / "alerts.json"
        self.configure(recipients)
        self.service: subprocess.Popen | None = None
        for program in ("alert", "alerts-deliver"):
            (self.root / program).write_text(cluster.texts[program])
            (self.root / program).chmod(0o755)

    def configure(self, recipients: dict) -> None:
        whole = {"version": 1, "cluster": "c1", "node": self.name, "recipients": recipients}
        self.config.with_suffix(".new").write_text(json.dumps(whole))
        self.config.with_suffix(".new").rename(self.config)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HAFAILOVER_PATH": str(self.cluster.directory / "bin"),
            "HAFAILOVER_FAKE": str(self.cluster.directory),
            "HAFAILOVER_FAKE_NODE": self.name,
            "HAFAILOVER_ALERTS": str(self.root),
            "HAFAILOVER_ALERTS_CONFIG": str(self.config),
            "HAFAILOVER_ALERTS_IDLE": "0.2",
        }

    def alert(self, at: float | None = None, sequence: int = 1, **given: str) -> subprocess.CompletedProcess[bytes]:
        """Run the agent as Pacemaker does."""
        moment = time.time() if at is None else at
        fields = {f"CRM_alert_{key}": value for key, value in given.items()}
        fields["CRM_alert_timestamp_epoch"] = str(int(moment))
        fields["CRM_alert_timestamp_usec"] = f"{int(moment % 1 * 1e6):06d}"
        fields["CRM_alert_node_sequence"] = str(sequence)
        return subprocess.run(
            [str(self.root / "alert")], env={**self.environment, **fields}, capture_output=True, check=False, timeout=20
        )

    def start(self) -> None:
        self.service = subprocess.Popen([str(self.root / "alerts-deliver")], env=self.environment)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.service is not None:
            self.service.send_signal(number)
            self.service.wait(timeout=30)
            self.service = None

    def run(self, seconds: float = 30) -> None:
        """Let the service work until it ends for lack of work, and is not started again as systemd does when there is some."""
        end = time.monotonic() + seconds
        while True:
            if self.service is None:
                self.start()
            assert self.service is not None
            assert self.service.wait(timeout=max(0.1, end - time.monotonic())) == 0
            self.service = None
            if not os.listdir(self.root / "inbox") and not any((self.root / "queue").glob("*/*")):
                return

    def waiting(self, recipient: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return len(os.listdir(self.root / "queue" / recipient))
        return 0

    def state(self, recipient: str) -> dict:
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.root / "state" / f"{recipient}.json").read_text())
        return {}


class Web:
    """A web server that records what it was sent. ``status`` is what it answers, ``headers`` come with it."""

    def __init__(self) -> None:
        self.status, self.headers, self.hang, self.echo = 200, {}, 0.0, False
        self.got: list[tuple[dict, dict]] = []
        self.tried = 0
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.tried += 1
                if web.hang:
                    time.sleep(web.hang)
                if web.status < 300:
                    web.got.append((json.loads(body), {key.lower(): value for key, value in self.headers.items()}))
                self.send_response(web.status)
                for key, value in web.headers.items():
                    self.send_header(key, value)
                said = f"no: {self.headers.get('Authorization')}, {self.path}".encode() if web.echo else b""
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A client that has gone again before it was accepted leaves nothing to accept: with no limit the server would wait there for ever.
        self.server.socket.settimeout(1)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def recipient(self, **more: object) -> dict:
        events = ["nodes", "fencing", "failures", "promotions", "resources", "attributes", "hooks"]
        whole = {"type": "webhook", "url": self.url, "events": events, "keep": 20000, "keep_for": 86400, "timeout": 2}
        return {**whole, **more}


def until(what: str, check, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """A web server while it is needed."""
    made = Web()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def cluster_of_two(tmp_path: Path) -> Cluster:
    """A cluster with both nodes in it."""
    made = Cluster(tmp_path / "c")
    made.members("db1", "db2")
    return made


@contextlib.contextmanager
def two(cluster: Cluster, web: Web) -> Iterator[list[Node]]:
    """Its nodes, each with ``web`` as the recipient hook; nothing of them runs on afterwards."""
    made = [Node(cluster, name, {"hook": web.recipient()}) for name in ("db1", "db2")]
    try:
        yield made
    finally:
        for node in made:
            node.end(signal.SIGKILL)


def bodies(web: Web) -> list[dict]:
    return [body for body, _ in web.got]


def spread(node: Node, first: int, count: int, at: float) -> None:
    """Events as the agent leaves them, many: the agent itself is measured elsewhere."""
    for number in range(first, first + count):
        text = f"kind=resource\0at={at:.0f}\0micro={number}\0sequence={number}\0node={node.name}\0resource=db\0task=start\0rc=0\0"
        text += f"target_rc=0\0status=0\0desc={number}\0end=1\0"
        (node.root / "inbox" / f"{at:.0f}.{number:06d}.{number}.1").write_text(text)
