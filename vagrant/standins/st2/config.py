"""What a stand-in reads: st2.conf as the real services do, and standin.conf for what only stand-ins need.

Test equipment. A real StackStorm keeps executions in MongoDB; the stand-ins keep them in MariaDB, which standin.conf names.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

ST2_CONF = Path("/etc/st2/st2.conf")
STANDIN_CONF = Path("/etc/st2/standin.conf")
PACKS = Path("/opt/stackstorm/packs")
FLAGS = Path("/run/st2-standin")
"""A file in here is an order by a test: ``hang`` (hang when the broker is lost), ``no-heartbeat`` (as the real ones:
a dead broker is not noticed), ``slow-start`` (wait as many seconds as it says before serving), ``die`` (end with an
error at the start)."""
KEYS = Path("/etc/st2/standin.keys")

ACCOUNT, PASSWORD, SCHEMA = "st2_standin", "st2-standin", "st2_standin"


def say(text: str) -> None:
    """A line for the journal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def read(path: Path) -> configparser.RawConfigParser:
    """The configuration at ``path``; empty if it is not there."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read(path)
    return parser


def brokers() -> list[str]:
    """The URLs of the brokers, as the real services find them."""
    conf = read(ST2_CONF)
    urls = conf.get("messaging", "cluster_urls", fallback="") or conf.get("messaging", "url", fallback="")
    found = [url for url in (urls or "").replace(",", " ").split() if url.startswith("amqp")]
    return found or ["amqp://guest:guest@127.0.0.1:5672/"]


def database() -> tuple[str, int]:
    """Host and port of MariaDB."""
    conf = read(STANDIN_CONF)
    return conf.get("database", "host", fallback="127.0.0.1"), conf.getint("database", "port", fallback=3306)


def listen(service: str, port: int) -> tuple[str, int]:
    """Where an API listens: [api] host and port, and so on."""
    conf = read(ST2_CONF)
    return conf.get(service, "host", fallback="127.0.0.1"), conf.getint(service, "port", fallback=port)


def timers_enabled() -> bool:
    """As st2timersengine decides it."""
    conf = read(ST2_CONF)
    return conf.getboolean("timer", "enable", fallback=False) or conf.getboolean(
        "timersengine", "enable", fallback=True
    )


def exit_still_active() -> float:
    """Seconds that a stopping action runner waits for the actions it runs."""
    return read(ST2_CONF).getfloat("actionrunner", "exit_still_active_check", fallback=300.0)


def flag(name: str) -> str | None:
    """What a test has ordered, None if it has not."""
    try:
        return (FLAGS / name).read_text().strip()
    except FileNotFoundError:
        return None
