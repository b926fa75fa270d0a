"""A client like a browser: it keeps its cookie and its connection, logs in once and counts up, and says what became of each request.

Its orders: ``url`` (of the application), ``user``, ``every`` and ``patience`` (seconds); the end of its input stops it.

As browsers do, and no more: a GET on a kept connection that is closed before a byte of the answer came is sent once more, on a
new connection. Every other error is a failed request; the user then presses reload, so the same number is asked for again. Each
request is a line: ``user``, ``number``, ``at`` (Unix time of its end), ``took`` (seconds), ``by`` (the Tomcat) or ``error``, ``again``
(whether it was sent twice). A session that is lost is a line with ``lost``; the client then logs in anew under another name.
"""

from __future__ import annotations

import http.client
import time
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from .pace import orders, say, turns

_LOST = 409


class Browser:
    """One connection, kept; one cookie."""

    def __init__(self, url: str, patience: float) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path.rstrip("/")
        self._patience = patience
        self._connection: http.client.HTTPConnection | None = None
        self._cookie = ""

    def get(self, page: str) -> tuple[int, str, bool]:
        """Status, text, and whether it had to be sent again. OSError or HTTPException when it failed."""
        reused = self._connection is not None
        try:
            return (*self._once(page), False)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not reused:
                raise
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        try:
            return (*self._once(page), True)
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def _once(self, page: str) -> tuple[int, str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._patience)
        self._connection.request(
            "GET", f"{self._path}/{page}", headers={"Cookie": self._cookie} if self._cookie else {}
        )
        answer = self._connection.getresponse()
        text = answer.read().decode("utf-8", "replace").strip()
        for header in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(header).items():
                self._cookie = f"{name}={morsel.value}"
        if answer.will_close:
            self.close()
        return answer.status, text

    def close(self) -> None:
        """Use a new connection for the next request."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main() -> None:
    """Log in and count until standard input ends."""
    told = orders()
    lives, number, user = 0, 0, ""
    browser = Browser(told["url"], told["patience"])
    for _ in turns(told["every"]):
        if not user:
            lives += 1
            wanted = f"{told['user']}-{lives}"
            browser = Browser(told["url"], told["patience"])
            if _ask(browser, f"login.jsp?user={wanted}", {"user": wanted, "number": 0}) == http.client.OK:
                user, number = wanted, 1
            continue
        status = _ask(browser, f"count.jsp?n={number}", {"user": user, "number": number})
        if status == http.client.OK:
            number += 1
        elif status == _LOST:
            user = ""


def _ask(browser: Browser, page: str, entry: dict[str, Any]) -> int:
    """Ask for a page and say what came of it; the status, 0 when there was no answer."""
    begun = time.monotonic()
    status = 0
    try:
        status, text, entry["again"] = browser.get(page)
    except (OSError, http.client.HTTPException) as error:
        entry["error"] = f"{type(error).__name__}: {error}"
    else:
        if status == http.client.OK:
            entry["by"] = text.rpartition(" ")[2]
        else:
            entry["error"] = f"{status} {' '.join(text.split())[:200]}"
            entry["lost"] = status == _LOST
    entry["took"] = time.monotonic() - begun
    entry["at"] = time.time()
    say(entry)
    return status
