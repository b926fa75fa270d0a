"""What a real cluster said, recorded: ``load(NAME)`` for the tests; run on a cluster node, it prints a new record.

    hafailover lab exec db1 -- /usr/bin/python3 tests/unit/status_samples.py > /tmp/record.json
    /usr/bin/python3 tests/unit/status_samples.py NAME < /tmp/record.json

Attributes of the operation history that nothing reads are left out.
"""

import json
import pathlib
import re
import sys
from types import ModuleType

DIRECTORY = pathlib.Path(__file__).resolve().parent / "data" / "status"
_NOISE = re.compile(
    r" (?:transition-(?:key|magic)|op-digest|op-secure-\w+|op-restart-digest|op-force-restart|crm-debug-origin|crm_feature_set|"
    r'exec-time|queue-time|cib-last-written|update-(?:origin|client|user))="[^"]*"'
)


def load(name, **changes):
    """The recorded Facts called ``name``, with some fields replaced."""
    from hafailover.crm.status_facts import Facts

    fields = json.loads((DIRECTORY / f"{name}.json").read_text())
    fields["mon"] = (DIRECTORY / f"{name}.mon.xml").read_text()
    fields["cib"] = (DIRECTORY / f"{name}.cib.xml").read_text()
    fields["unanswered"] = tuple(fields["unanswered"])
    return Facts(**{**fields, **changes})


def status(name, **changes):
    """The Status of a record."""
    from hafailover.crm.status_read import read

    return read(load(name, **changes))


def _record():
    package = sys.modules["hafailover"] = ModuleType("hafailover")
    package.__path__ = [str(pathlib.Path(__file__).resolve().parent.parent.parent)]
    from hafailover.crm import local
    from hafailover.crm.status_facts import gather

    sys.stdout.write(json.dumps(gather(local.run)._asdict()))


def _store(name):
    fields = json.load(sys.stdin)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for part in ("mon", "cib"):
        (DIRECTORY / f"{name}.{part}.xml").write_text(_NOISE.sub("", fields.pop(part)))
    (DIRECTORY / f"{name}.json").write_text(json.dumps(fields, indent=1) + "\n")


if __name__ == "__main__":
    _store(sys.argv[1]) if len(sys.argv) > 1 else _record()
