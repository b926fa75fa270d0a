"""How a drill gets at the nodes of a real cluster: this one directly, others by ssh if they let root in, every server over its port."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hafailover.agents.mariadb.replication import Login
from hafailover.crm import local
from hafailover.crm.errors import HafailoverError

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR", "-l", "root")
_SSH_TIMEOUT = 10.0
_PREFIX = "hafailover-drill-"


class Server(NamedTuple):
    """Where the database servers are: each node's address, the port of all, and the socket on each node."""

    addresses: Mapping[str, str]
    port: int
    socket: str


class Reach:
    """The ways from the node ``here``. ``defaults_file`` names an administrator's account for the servers, as client programs read it.

    ``reader`` is the account by which servers are looked at that cannot be administered. Use as a context manager: option files with
    passwords exist only meanwhile, in memory, for root alone.
    """

    def __init__(self, here: str, server: Server, reader: Login | None, defaults_file: str | None = None) -> None:
        self.here = here
        self.server = server
        self.by_ssh: frozenset[str] = frozenset()
        self._reader = reader
        self._defaults_file = defaults_file
        self._directory = ""
        self._logins: dict[str, Login] = {}

    def __enter__(self) -> Reach:
        where = "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()
        _sweep(where)
        self._directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=where)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def look_for_ssh(self, nodes: Iterable[str]) -> None:
        """Try each of ``nodes``, all at once."""
        found: set[str] = set()

        def attempt(node: str) -> None:
            try:
                if local.run([*SSH, node, "--", "true"], _SSH_TIMEOUT).rc == 0:
                    found.add(node)
            except HafailoverError:
                return  # there is no ssh here

        threads = [threading.Thread(target=attempt, args=(node,)) for node in nodes if node != self.here]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.by_ssh = frozenset(found)

    def works_on(self, node: str) -> bool:
        """Whether programs can be run there."""
        return node == self.here or node in self.by_ssh

    def administers(self, node: str) -> bool:
        """Whether statements can be run there as an administrator."""
        return self.works_on(node) or self._defaults_file is not None

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """The command line of this machine that runs ``argv`` on ``node`` as root; HafailoverError if there is none."""
        if node == self.here:
            return [_ourselves(), *argv[1:]] if argv[0] == "hafailover" else list(argv)
        if node in self.by_ssh:
            return [*SSH, node, "--", shlex.join(argv)]
        raise HafailoverError(
            f"{argv[0]} cannot be run on {node} from {self.here}: ssh does not let root in without a question"
        )

    def run(
        self, node: str, argv: Sequence[str], timeout: float, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` on ``node`` and wait for it."""
        return _completed(argv, self.command(node, argv), timeout, input)

    def know(self, user: str, password: str) -> None:
        """From now on servers that cannot be administered are asked by this account, the drill's own."""
        self._logins = dict.fromkeys(self.server.addresses, Login(user, password))

    def mariadb(
        self, node: str, options: Sequence[str], statements: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the client program against the server of ``node``: as root where possible, else by the account that is known."""
        argv = ["mariadb", *options]
        if self.works_on(node):
            return self.run(node, ["mariadb", f"--socket={self.server.socket}", *options], timeout, statements)
        where = [f"--host={self.server.addresses[node]}", f"--port={self.server.port}", "--protocol=tcp"]
        if self._defaults_file is not None:
            return _completed(
                argv, ["mariadb", f"--defaults-file={self._defaults_file}", *where, *options], timeout, statements
            )
        login = self._logins.get(node, self._reader)
        if login is None:
            raise HafailoverError(f"the server of {node} cannot be asked from {self.here}: there is no account for it")
        file = self._option_file(login)
        return _completed(argv, ["mariadb", f"--defaults-file={file}", *where, *options], timeout, statements)

    def _option_file(self, login: Login) -> Path:
        file = Path(self._directory) / f"{len(login.password)}-{abs(hash(login))}.cnf"
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as stream:
                stream.write(f'[client]\nuser="{_quoted(login.user)}"\npassword="{_quoted(login.password)}"\n')
        return file


def _sweep(where: str) -> None:
    """Remove the passwords of a process that was killed before it could."""
    for left in Path(where).glob(f"{_PREFIX}*-*"):
        pid = left.name[len(_PREFIX) :].partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists() and left.lstat().st_uid == os.geteuid():
            shutil.rmtree(left, ignore_errors=True)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _ourselves() -> str:
    program = Path(sys.argv[0])
    return str(program.resolve()) if program.name == "hafailover" and os.access(program, os.X_OK) else "hafailover"


def _completed(
    argv: Sequence[str], command: Sequence[str], timeout: float, input: str | None
) -> subprocess.CompletedProcess[str]:
    done = local.run(command, timeout, input)
    if done.rc == 124:
        raise HafailoverError(done.err)
    return subprocess.CompletedProcess(list(argv), done.rc, done.out, done.err)
