"""URLs and hosts of services outside of the cluster, taken apart. No message repeats a URL: it may hold a password."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote


class BadUrl(ValueError):
    """What is wrong with a URL, as a sentence that does not repeat it: it may hold a password."""


def is_address(host: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Host(NamedTuple):
    """Where something listens: a name or an address (without brackets), and the port."""

    name: str
    port: int

    @property
    def written(self) -> str:
        """``HOST:PORT`` as URLs have it."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Url(NamedTuple):
    """A URL without account: its hosts, the path without its first slash, decoded, and the options in lower case."""

    scheme: str
    hosts: tuple[Host, ...]
    path: str
    options: Mapping[str, str]


def one_host(url: Url, form: str) -> None:
    """BadUrl unless ``url`` names exactly one host; ``form`` is how it should look."""
    if len(url.hosts) != 1:
        raise BadUrl(f"must name one host; write {form}")


def parse_url(written: str, schemes: Mapping[str, int]) -> Url:
    """``written`` taken apart; ``schemes`` are those allowed and the port each stands for. BadUrl."""
    if "@" in written:
        raise BadUrl("holds an account; a secret is never written into the topology: give user and password: file:NAME")
    match = re.fullmatch(r"([a-z+]+)://([^?#]*)(?:\?([^#]*))?", written)
    if match is None or match[1] not in schemes:
        raise BadUrl(f"is not a URL of this kind; it begins with {' or '.join(f'{name}://' for name in schemes)}")
    authority, _, path = match[2].partition("/")
    hosts = tuple(parse_host(host, schemes[match[1]]) for host in authority.split(","))
    if len(set(hosts)) != len(hosts):
        raise BadUrl("names a host twice")
    options = {key.lower(): value for key, value in parse_qsl(match[3] or "", keep_blank_values=True)}
    return Url(match[1], hosts, unquote(path), options)


def parse_host(written: str, port: int) -> Host:
    """``HOST`` or ``HOST:PORT``, with ``port`` when it gives none; BadUrl."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})))(?::(\d{1,5}))?", written)
    if match is None or not 0 <= int(match[3] or 0) <= 65535 or match[3] == "0":
        raise BadUrl("names no host of the form HOST or HOST:PORT ([ADDRESS]:PORT for IPv6)")
    if match[1]:
        try:
            return Host(str(ipaddress.IPv6Address(match[1])), int(match[3] or port))
        except ValueError:
            raise BadUrl("has something in brackets that is no IPv6 address") from None
    return Host(match[2], int(match[3] or port))
