"""The HTTP interfaces, with the paths of the real ones as far as they are used here. Test equipment."""

from __future__ import annotations

import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

import pymysql
from hafailover.vagrant.standins.st2 import bus, config
from hafailover.vagrant.standins.st2.store import Store, insist

_PORTS = {"api": 9101, "auth": 9100, "stream": 9102}
_STORES = 8


class Backend:
    """Stores and one publisher, shared by the threads of requests."""

    def __init__(self) -> None:
        self._stores = [Store() for _ in range(_STORES)]
        self._free = threading.Semaphore(_STORES)
        self._lock, self._publishing = threading.Lock(), threading.Lock()
        self._publisher = bus.Publisher()

    def with_store(self, work: Callable[[Store], Any]) -> Any:
        """The result of ``work`` with a store of its own. pymysql.Error."""
        with self._free:
            with self._lock:
                store = self._stores.pop()
            try:
                return work(store)
            finally:
                with self._lock:
                    self._stores.append(store)

    def submit(self, action: str, parameters: dict[str, Any]) -> str:
        """A new execution's id, once the database and a broker have it. pymysql.Error; one of bus.LOST."""
        identity: str = self.with_store(lambda store: store.submit(action, parameters))
        with self._publishing:
            self._publisher.publish(bus.REQUESTED, identity)
        return identity


def serve(service: str, ended: Callable[[], bool]) -> None:
    """Answer until told to end."""

    class Handler(_Handler):
        backend = Backend()
        kind = service

    if service == "api":
        # The schema is made by whoever comes first, not by the first request.
        store = Store()
        making = lambda: insist(lambda: store.listed(1), time.sleep, ended)  # noqa: E731
        threading.Thread(target=making, daemon=True).start()
    server = ThreadingHTTPServer(config.listen(service, _PORTS[service]), Handler)
    server.daemon_threads = True
    server.timeout = 0.5
    config.say(f"listening on {server.server_address[0]!r}:{server.server_address[1]}")
    while not ended():
        server.handle_request()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    backend: Backend
    kind: str
    timeout = 10

    def do_GET(self) -> None:
        """The root, executions, one execution."""
        url = urlsplit(self.path)
        if url.path == "/" and self.kind == "api":
            self._answer(200, {"version": "3.8 (stand-in)", "docs_url": "http://docs.stackstorm.com/3.8"})
        elif self.kind != "api" or not url.path.startswith("/v1/executions"):
            self._answer(404, {"faultstring": "The resource could not be found."})
        elif self._allowed():
            identity = url.path[len("/v1/executions") :].strip("/")
            self._guarded(lambda: self._executions(identity, parse_qs(url.query)))

    def do_POST(self) -> None:
        """A new execution, or a token."""
        body = self._body()
        if self.kind == "auth" and self.path == "/tokens":
            self._answer(201, {"user": "st2admin", "token": "0" * 32})
        elif self.kind != "api" or self.path.rstrip("/") != "/v1/executions":
            self._answer(404, {"faultstring": "The resource could not be found."})
        elif not isinstance(body, dict) or not isinstance(body.get("action"), str):
            self._answer(400, {"faultstring": "action is missing"})
        elif self._allowed():
            self._guarded(lambda: self._submit(body))

    def _submit(self, body: dict[str, Any]) -> None:
        identity = self.backend.submit(body["action"], body.get("parameters") or {})
        self._answer(201, {"id": identity, "status": "requested", "action": {"ref": body["action"]}})

    def _executions(self, identity: str, query: dict[str, list[str]]) -> None:
        if not identity:
            rows = self.backend.with_store(lambda store: store.listed(int(query.get("limit", ["50"])[0])))
            self._answer(200, [_shown(row) for row in rows])
            return
        row = self.backend.with_store(lambda store: store.get(identity))
        if row is None:
            self._answer(404, {"faultstring": f'Execution with id "{identity}" not found'})
        else:
            self._answer(200, _shown(row))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (pymysql.Error, *bus.LOST) as error:
            self._answer(503, {"faultstring": f"{type(error).__name__}: {error}"})

    def _allowed(self) -> bool:
        if not config.KEYS.exists():
            return True
        given = self.headers.get("St2-Api-Key", "")
        if any(hmac.compare_digest(given, key) for key in config.KEYS.read_text().split()):
            return True
        self._answer(401, {"faultstring": "Unauthorized"})
        return False

    def _body(self) -> Any:
        try:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        except ValueError:
            return None

    def _answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Monitors ask every few seconds; the journal need not know."""


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "status": row["status"],
        "action": {"ref": row["action"]},
        "parameters": json.loads(row["parameters"]),
        "result": {"stdout": row["result"]} if row["result"] is not None else {},
        "start_timestamp": row["created"],
        "end_timestamp": row["ended"],
        "context": {"node": row["node"], "runs": row["runs"]},
    }
