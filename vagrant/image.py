"""The nodes' root file system: made by mmdebstrap from the host's own Debian archive, kept in a cache.

The cache entry is named by suite and package sets and by a hash of everything that goes into it (package lists, recipe,
architecture), so a changed list gives a new image, and it appears under that name only when it is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.progress import under_way
from hafailover.vagrant.host import ENVIRONMENT, cache_dir, package_root, run
from hafailover.vagrant.provider import Progress

DEFAULT_SUITE = "bookworm"
BASE_SET = "cluster"

# Two minutes on a small machine with a near mirror; a slow network gets ten times that.
_BUILD_TIMEOUT = 1800.0

# Of the host's apt settings, those that decide whether and how its archive can be reached and trusted.
_APT_SETTINGS = re.compile(
    r'^Acquire::(?:(?:https?|ftp)::|Check-|Retries|ForceIPv|AllowInsecure).*".*";$', re.IGNORECASE
)

# The cost of fsync per unpacked file is most of an installation's time, and a half-written image is thrown away anyway.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)

# Package → what is run before it is installed. Java's packages register their manual pages, which are left out, and fail
# without the directory for them.
_HOOKS = {"tomcat10": 'mkdir -p "$1/usr/share/man/man1"'}


# What mmdebstrap says when a stage begins, and what that is to others.
_STAGES = (
    ("running apt-get update", "fetching the lists of packages"),
    ("downloading packages", "fetching the essential packages"),
    ("extracting archives", "unpacking them"),
    ("installing essential packages", "installing them"),
    ("installing remaining packages", "fetching and installing the others"),
    ("running --customize-hook in shell: sh -c 'chroot", "setting the system up"),
    ("cleaning package lists", "tidying up"),
)


class Source(NamedTuple):
    """One suite of an apt archive, as the host uses it."""

    uri: str
    suite: str
    component: str


def package_sets() -> list[str]:
    """The names of all package sets: files in vagrant/packages."""
    return sorted(path.stem for path in _package_dir().glob("*.txt"))


def _package_dir() -> Path:
    return package_root() / "vagrant" / "packages"


def parse_packages(text: str, suite: str) -> list[str]:
    """Package names in the text of a package list that apply to ``suite`` ("name" or "name [suite ...]" per line)."""
    names = []
    for line in text.splitlines():
        name, bracket, suites = line.partition("#")[0].partition("[")
        if name.strip() and (not bracket or suite in suites.strip().rstrip("]").split()):
            names.append(name.strip())
    return names


def packages(suite: str, sets: Sequence[str]) -> list[str]:
    """All packages of the named sets for ``suite``; UsageError for a set there is none of."""
    names: list[str] = []
    for name in sets:
        file = _package_dir() / f"{name}.txt"
        if not file.is_file():
            raise UsageError(f"no package set {name!r}; there are {', '.join(package_sets())}.")
        names += parse_packages(file.read_text(), suite)
    return sorted(set(names))


def entry(suite: str, sets: Sequence[str]) -> Path:
    """The cache directory of the image with these sets; it need not exist."""
    names = packages(suite, sets)
    recipe = (package_root() / "vagrant" / "image.sh").read_text()
    content = [suite, platform.machine(), recipe, *_DPKG_OPTIONS, *names, *_hooks(names)]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()
    return cache_dir() / "images" / f"{suite}-{'+'.join(sorted(sets))}-{digest[:12]}"


def _hooks(names: Sequence[str]) -> list[str]:
    """What is run before these packages are installed."""
    return [hook for package, hook in _HOOKS.items() if package in names]


def parse_targets(text: str) -> list[Source]:
    """The Debian sources in the answer of ``apt-get indextargets`` in our format (see :func:`host_sources`)."""
    found = []
    for line in text.splitlines():
        origin, uri, suite, component, architecture = line.split("|")
        source = Source(uri, suite, component)
        if origin == "Debian" and architecture != "all" and "backports" not in suite and source not in found:
            found.append(source)
    return found


def host_sources() -> list[Source]:
    """The host's own Debian archive, as apt knows it; other vendors' archives are left out."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ARCHITECTURE)",
        "Created-By: Packages",
    ]
    found = parse_targets(run(command, timeout=60).stdout)
    if not found:
        # apt learns an archive's origin from its release file, which a fresh machine has not fetched yet.
        run(["apt-get", "update", "-qq"], timeout=300)
        found = parse_targets(run(command, timeout=60).stdout)
    if not found:
        raise HafailoverError(
            "apt on this machine knows no Debian archive to build the nodes from: add one to /etc/apt/sources.list.d "
            "and run apt-get update."
        )
    return found


def for_suite(sources: Sequence[Source], suite: str) -> list[Source]:
    """``sources`` of whatever release the host runs, turned to ``suite`` (bookworm-security -> trixie-security)."""
    own = sources[0].suite.partition("-")[0]
    changed = []
    for source in sources:
        release, dash, pocket = source.suite.partition("-")
        if release == own:
            changed.append(source._replace(suite=suite + dash + pocket))
    return changed


def apt_settings(dump: str) -> list[str]:
    """The lines of ``apt-config dump`` that mmdebstrap's apt must share to reach the same archive."""
    return [line for line in dump.splitlines() if _APT_SETTINGS.match(line)]


def ensure(suite: str, sets: Sequence[str], progress: Progress) -> Path:
    """Return the root file system with these package sets, building it first if it is not in the cache.

    Raises HafailoverError, with the end of the build's log, if the build fails.
    """
    target = entry(suite, sets)
    if (target / "rootfs").is_dir():
        return target / "rootfs"
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.parent / f".{target.name}.lock", progress) as lock:
        # Another lab may have built it while we waited.
        if not (target / "rootfs").is_dir():
            _build(target, suite, packages(suite, sets), lock, progress)
    return target / "rootfs"


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[int]:
    """Hold the lock ``path``; its descriptor is for the builder to inherit, who then holds it too."""
    deadline = time.monotonic() + _BUILD_TIMEOUT
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HafailoverError(f"{path}: held by another build for {_BUILD_TIMEOUT:g} s.") from None
                if not told:
                    progress("image: another lab is building it; waiting")
                    told = True
                time.sleep(0.5)
        yield file.fileno()


def _build(target: Path, suite: str, names: Sequence[str], lock: int, progress: Progress) -> None:
    # A name that says whose it is: what a killed build left is recognised and removed by the next one, under the lock.
    building = target.with_name(f".building-{target.name}")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir()
    log_path = building / "build.log"
    progress(f"image: building {target.name} from {len(names)} packages, once; this takes one to three minutes")
    began = time.monotonic()
    with log_path.open("wb") as log:
        builder = subprocess.Popen(
            _mmdebstrap(building / "rootfs", suite, names),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # mmdebstrap's own temporary files are a few MB; the root file system itself grows in the cache.
            env={**ENVIRONMENT, "DEBIAN_FRONTEND": "noninteractive"},
            start_new_session=True,
            pass_fds=(lock,),
        )
    _await(builder, log_path, began, progress)
    (building / "packages.txt").write_text("\n".join(names) + "\n")
    building.rename(target)
    progress(f"image: built in {time.monotonic() - began:.0f} s")
    under_way(progress, "the machines are made")
    _prune(target, progress)


def _mmdebstrap(rootfs: Path, suite: str, names: Sequence[str]) -> list[str]:
    recipe = package_root() / "vagrant" / "image.sh"
    sources = for_suite(host_sources(), suite)
    settings = apt_settings(run(["apt-config", "dump"], timeout=30).stdout)
    return [
        # When we are killed it must not go on by itself, and mmdebstrap's own processes outlive a signal to the first
        # of them: in a PID namespace they all end with it, and their mounts too.
        "setpriv",
        "--pdeathsig=KILL",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(names)}",
        '--aptopt=Acquire::Languages "none";',
        *(f"--aptopt={line}" for line in settings),
        *(f"--dpkgopt={line}" for line in _DPKG_OPTIONS),
        *(f"--essential-hook={hook}" for hook in _hooks(names)),
        f"--customize-hook=copy-in {recipe} /root",
        '--customize-hook=chroot "$1" sh /root/image.sh',
        '--customize-hook=rm "$1/root/image.sh"',
        suite,
        str(rootfs),
        *(f"deb {source.uri} {source.suite} {source.component}" for source in sources),
    ]


def _await(builder: subprocess.Popen[bytes], log: Path, began: float, progress: Progress) -> None:
    looked = began
    try:
        while builder.poll() is None:
            now = time.monotonic()
            if now - began > _BUILD_TIMEOUT:
                raise HafailoverError(f"image: mmdebstrap is not done after {_BUILD_TIMEOUT:g} s; see {log}.")
            if now - looked >= 1:
                looked = now
                phase, text = stage(log.read_text(errors="replace"))
                count = _installed(log.parent / "rootfs")
                about = f"{count} packages are installed" if count else ""
                under_way(progress, f"image: {text}", phase, len(_STAGES), about, log=True)
            time.sleep(0.2)
    except BaseException:
        # Its session is its own, so a Ctrl-C at our terminal has not reached it. The next build removes its files.
        builder.kill()
        builder.wait()
        raise
    if builder.returncode != 0:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("E:", "mmdebstrap: error", "dpkg: error"))]
        raise HafailoverError(
            f"image: mmdebstrap failed with exit code {builder.returncode}: "
            f"{' / '.join(errors[:3]) or _last_line(log)}; the whole log is {log}."
        )


def stage(log: str) -> tuple[int, str]:
    """How many of mmdebstrap's stages are over, by its ``log``, and what it does now, in words."""
    reached = [number for number, (said, _) in enumerate(_STAGES) if f"I: {said}" in log]
    return (reached[-1], _STAGES[reached[-1]][1]) if reached else (0, "starting")


def _installed(rootfs: Path) -> int:
    """How many packages are installed in it by now."""
    with suppress(OSError):
        return (rootfs / "var/lib/dpkg/status").read_text(errors="replace").count("\nStatus: install ok installed\n")
    return 0


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 400))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "starting")[:100]


def _prune(fresh: Path, progress: Progress) -> None:
    """Remove images that ``fresh`` replaces (same suite and sets, older content) and that no lab uses."""
    prefix = fresh.name.rpartition("-")[0]
    for old in fresh.parent.glob(f"{prefix}-*"):
        if old == fresh or old.name.rpartition("-")[0] != prefix:
            continue
        descriptor = os.open(old, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A lab holds a shared lock on the directory of the image it runs on.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(old)
            progress(f"image: removed {old.name}, which this one replaces")
        finally:
            os.close(descriptor)


def hold(rootfs: Path) -> int:
    """Take a shared lock on an image for as long as the returned descriptor is open: it is not pruned meanwhile."""
    descriptor = os.open(rootfs.parent, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
