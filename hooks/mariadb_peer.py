"""Run by systemd for each connection to the peer service: standard input is the socket."""

from __future__ import annotations

import socket
import sys

from hafailover.agents.mariadb.cloning import peer
from hafailover.agents.ocf import OcfError


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    resource = sys.argv[1]
    with socket.socket(fileno=0) as sock:
        try:
            said = peer.serve(sock, resource)
        except OcfError as error:
            said = f"a peer could not be answered: {error.reason}"
    if said:
        peer.note(resource, said)
