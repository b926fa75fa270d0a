"""What ssh does for a drill, for nodes that have none: ``remote_shell.py serve`` on port 22, and as /usr/local/bin/ssh its client."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys

PORT = 22
TIMEOUT = 60


class Serve(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        done = subprocess.run(["sh", "-c", asked["command"]], input=asked["input"], capture_output=True, text=True)
        answer = {"out": done.stdout, "err": done.stderr, "code": done.returncode}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def call(argv: list[str]) -> int:
    """ssh [-o OPTION]... -l root NODE -- COMMAND"""
    dashes = argv.index("--")
    node, command = argv[dashes - 1], " ".join(argv[dashes + 1 :])
    given = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    try:
        with socket.create_connection((node, PORT), timeout=5) as link:
            link.settimeout(TIMEOUT)
            link.sendall(json.dumps({"command": command, "input": given}).encode() + b"\n")
            answer = json.loads(link.makefile().readline() or "null")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ssh: connect to host {node}: {error}\n")
        return 255
    if answer is None:
        sys.stderr.write(f"Connection to {node} closed by remote host.\n")
        return 255
    sys.stdout.write(answer["out"])
    sys.stderr.write(answer["err"])
    return int(answer["code"])


if sys.argv[1:] == ["serve"]:
    with Server(("0.0.0.0", PORT), Serve) as server:
        server.serve_forever()
else:
    sys.exit(call(sys.argv[1:]))
