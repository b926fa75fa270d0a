"""What the agent reads in StackStorm's configuration, and the number of action runners. Only on rare paths."""

from __future__ import annotations

import configparser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_WORKERS = 10  # what StackStorm's own runners.sh starts
_DEFAULTS = ("/etc/default/st2actionrunner", "/etc/sysconfig/st2actionrunner")
_STILL_ACTIVE = 300.0  # seconds; StackStorm's default of exit_still_active_check
_AMQP, _AMQPS = 5672, 5671


class Conf:
    """st2.conf as far as it matters here. A file that is missing or unreadable is an empty one: all defaults hold."""

    def __init__(self, text: str) -> None:
        """Read ``text``; ValueError with the reason when it is no configuration file."""
        # Raw: a password may hold any character. Not strict: StackStorm takes the last of two, and so do we.
        self._parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            self._parser.read_string(text)
        except configparser.Error as error:
            raise ValueError(str(error).splitlines()[0]) from None

    def get(self, section: str, key: str, default: str = "") -> str:
        """The value as written, without blanks around it; ``default`` if it is not there, empty or None."""
        value = (self._parser.get(section, key, fallback=default) or "").strip()
        return default if value in ("", "None") else value

    def _true(self, section: str, key: str, default: bool) -> bool:
        value = self.get(section, key).lower()
        return default if not value else value in ("true", "1", "yes", "on", "t", "y")

    @property
    def timers_disabled(self) -> bool:
        """Whether st2timersengine ends at once; [timer] enable = False alone does not do that."""
        return not (self._true("timer", "enable", False) or self._true("timersengine", "enable", True))

    @property
    def coordinated(self) -> bool:
        """Whether action runners know of each other, without which they do not wait for running actions."""
        return bool(self.get("coordination", "url")) and self._true("coordination", "service_registry", False)

    @property
    def still_active(self) -> float:
        """Seconds that a stopping action runner waits for running actions by its own configuration."""
        if not self._true("actionrunner", "graceful_shutdown", True):
            return 0.0
        try:
            return float(self.get("actionrunner", "exit_still_active_check", str(_STILL_ACTIVE)))
        except ValueError:
            return _STILL_ACTIVE

    @property
    def brokers(self) -> list[tuple[str, int]]:
        """Host and port of each broker, without what else an amqp:// URL tells."""
        from urllib.parse import urlsplit

        urls = self.get("messaging", "cluster_urls") or self.get("messaging", "url")
        found = []
        for url in urls.replace(",", " ").split():
            try:
                parts = urlsplit(url)
                port = parts.port or (_AMQPS if parts.scheme == "amqps" else _AMQP)
            except ValueError:
                continue
            if parts.hostname and (parts.hostname, port) not in found:
                found.append((parts.hostname, port))
        return found


def load(path: str) -> Conf:
    """The configuration at ``path``; empty when it cannot be read. ValueError with the reason when it is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return Conf(file.read())
    except OSError:
        return Conf("")


def resolve(brokers: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The addresses of brokers that may be given by name; one whose name leads nowhere is left out."""
    import socket

    found = []
    for host, port in brokers:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        found += [(str(a[4][0]), port) for a in answers if (str(a[4][0]), port) not in found]
    return found


def workers(texts: Iterable[str] | None = None) -> int:
    """How many action runners a node has: WORKERS in the files that their package reads, else ten."""
    for text in _read_defaults() if texts is None else texts:
        for line in reversed(text.splitlines()):
            name, _, value = line.strip().partition("=")
            if name.replace("export ", "").strip() == "WORKERS" and value.strip("\"' ").isdecimal():
                return max(1, int(value.strip("\"' ")))
    return DEFAULT_WORKERS


def _read_defaults() -> list[str]:
    texts = []
    for path in _DEFAULTS:
        try:
            with open(path) as file:
                texts.append(file.read())
        except OSError:
            continue
    return texts
