"""What a lab that did not come up says of itself."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import health
from hafailover.vagrant.lab import Lab

_ALONE = """<pacemaker-result api-version="2.25" request="crm_mon"><summary>
<current_dc present="true" name="db1" with_quorum="false"/></summary>
<nodes><node name="db1" online="true" pending="false"/><node name="db2" online="false"/></nodes></pacemaker-result>"""


class HalfMade:
    """A lab of db1, db2 and quorum; ``answers`` are those of a node's programs: output, exit code or what goes wrong."""

    cluster_nodes = ("db1", "db2")
    nodes = ("db1", "db2", "quorum")

    def __init__(self, answers: Mapping[tuple[str, str], str | int]) -> None:
        self._answers = answers

    def exec(self, node: str, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        answer: Any = self._answers.get((node, argv[0]), "")
        if (node, "") in self._answers:
            raise HafailoverError(str(self._answers[(node, "")]))
        code = answer if isinstance(answer, int) else 0
        return subprocess.CompletedProcess(list(argv), code, "" if code else answer, "")


def told(answers: Mapping[tuple[str, str], str | int]) -> list[str]:
    return health.unformed(cast(Lab, HalfMade(answers)))


def test_each_member_says_what_it_sees_of_the_cluster() -> None:
    assert told({("db1", "crm_mon"): _ALONE, ("db2", "crm_mon"): 102}) == [
        "db1: the cluster has no quorum",
        "db1: db2 is not online",
        "db2: Pacemaker does not answer",
    ]


def test_every_machine_says_what_has_failed_on_it_and_its_last_words() -> None:
    found = told(
        {
            ("db1", "crm_mon"): 102,
            ("db2", ""): "db2 is off",
            ("quorum", "systemctl"): "corosync-qnetd.service loaded failed failed Corosync Qdevice Network daemon\n",
            ("quorum", "journalctl"): "Nov 01 00:00:00 quorum systemd[1]: Too many open files\n  and then\n",
        }
    )
    assert found == [
        "db1: Pacemaker does not answer",
        "db2: db2 is off",
        *["db2: db2 is off"] * 2,
        "quorum: failed: corosync-qnetd.service loaded failed failed Corosync Qdevice Network daemon",
        "quorum: journal: Nov 01 00:00:00 quorum systemd[1]: Too many open files",
        "quorum: journal: and then",
    ]
