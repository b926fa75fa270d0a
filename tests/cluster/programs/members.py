"""Runs in a node: what Corosync's library and its program say of quorum and members, and how long the library took."""

import json
import sys
import time
from pathlib import Path
from types import ModuleType

package = sys.modules.setdefault("hafailover", ModuleType("hafailover"))
package.__path__ = [str(Path(__file__).resolve().parents[3])]

from hafailover.crm import local  # noqa: E402
from hafailover.crm.corosync_quorum import Quorum  # noqa: E402
from hafailover.crm.pacemaker import Membership, Pacemaker  # noqa: E402


def _told(members: Membership | None) -> object:
    # The program lists the quorum device among the members, as number 0.
    return members and [members.quorate, sorted(members.ids - {"0"})]


quorum = Quorum()
begun = time.monotonic()
first = quorum.ask()
again = quorum.ask()
took = time.monotonic() - begun
program = None if "library" in sys.argv else Pacemaker(local.run).membership()
sys.stdout.write(json.dumps({"first": _told(first), "again": _told(again), "took": took, "program": _told(program)}))
