"""The cases of the rules in the eyes of Pacemaker's own checks and of crmsh: what is marked silent passes, and a circle starts nothing.

And the commands that findings give are run: what they mend is not found again.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import cluster_image
import pytest
from hafailover.crm import lint
from lint_cases import CASES
from test_lint_rules import findings

# crm_verify says 78 of every CIB whose nodes it has never seen: these two are up.
UP = '<node_state id="{0}" uname="n{0}" in_ccm="true" crmd="online" join="member" expected="member"/>'
_CHECK = """
f=$1
crm_verify --verbose --xml-file $f >$f.said 2>&1
echo $? >$f.code
case $2 in L12*) crm_simulate --quiet --simulate --xml-file $f >$f.transition 2>&1 ;; esac
"""
_CRMSH = """
import glob, os
os.environ["CIB_file"] = "/mnt/000.xml"
from crmsh import cibconfig, options
from lxml import etree
options.interactive = False
for path in sorted(glob.glob("/mnt/[0-9][0-9][0-9].xml")):
    cibconfig.cib_factory.reset()
    with open(path + ".crmsh", "w") as file:
        print(cibconfig.cib_factory.initialize(etree.parse(path).getroot()), file=file)
        print(cibconfig.mkset_obj("xml").repr(), file=file)
"""
# The nearest right ones pass as well, but each costs as much time: one for each rule.
_GOOD = {case.code: case for case in reversed(CASES) if not case.flagged}
CHECKED = [case for case in CASES if case.flagged or case.code == "L12" or case in _GOOD.values()]


class Seen(NamedTuple):
    """What the programs say of a case: crm_verify's code and words, crm_simulate's transition, crmsh's verdict and text."""

    code: int
    said: str
    transition: str
    crmsh: str


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    cluster_image.need()
    directory = tmp_path_factory.mktemp("cases")
    for number, case in enumerate(CHECKED):
        up = case.cib.replace("<cib ", '<cib have-quorum="1" ').replace(
            "<status/>", f"<status>{UP.format(1)}{UP.format(2)}</status>"
        )
        (directory / f"{number:03}.xml").write_text(up)
    (directory / "check.sh").write_text(_CHECK)
    (directory / "look.py").write_text(_CRMSH)
    (directory / "list").write_text("".join(f"{number:03}.xml {case.code}\n" for number, case in enumerate(CHECKED)))
    done = cluster_image.run(
        directory,
        "python3 look.py >/dev/null 2>look.log & xargs -P 2 -n 2 sh check.sh <list 2>check.log; wait; echo done",
    )
    assert done.stdout == "done\n", done.stderr

    def text(number, what):
        file = directory / f"{number:03}.xml.{what}"
        return file.read_text() if what != "transition" or file.exists() else ""

    return {
        str(case): Seen(int(text(at, "code")), text(at, "said"), text(at, "transition"), text(at, "crmsh"))
        for at, case in enumerate(CHECKED)
    }


def test_what_is_dangerous_and_marked_passes_pacemakers_check_in_silence(seen):
    said = {name: one.said for name, one in seen.items() if one.code or one.said.strip()}
    assert set(said) == {str(case) for case in CHECKED if not case.silent}


def test_crmsh_reads_every_case_and_keeps_what_is_in_it(seen):
    for case in CHECKED:
        verdict, _, text = seen[str(case)].crmsh.partition("\n")
        assert verdict == "True", case
        assert set(re.findall(r'<(?:primitive|rsc_\w+) id="([^"]+)"', case.cib)) <= set(
            re.findall(r'id="([^"]+)"', text)
        ), case


def test_a_circle_of_orders_starts_nothing(seen):
    """Pacemaker cannot carry out the transition. Two circles do not show at a start: one of stops, one that waits for a promotion."""
    invalid = {name for name, one in seen.items() if "invalid transition" in one.transition}
    circles = {str(case) for case in CASES if case.code == "L12" and case.flagged}
    assert invalid == circles - {"L12-bad-of the stops", "L12-bad-through a clone"}


def test_the_commands_mend_what_was_found(tmp_path):
    """Each finding that gives commands: run as they are they leave nothing of that rule at that place."""
    cluster_image.need()
    mended = {}
    for number, case in enumerate(CASES):
        for found in findings(case.cib) if case.flagged else ():
            if found.fix and not re.search(r"<[A-Z][A-Z-]+>|crm configure edit", found.fix):
                mended.setdefault(case.code, (number, case, found))
    script = []
    for code, (_, case, found) in mended.items():
        (tmp_path / f"{code}.xml").write_text(case.cib)
        # A home each: two crmsh that start at once fall over each other's first mkdir of ~/.config/crm.
        script.append(f"(export HOME=/tmp/{code} CIB_file=/mnt/{code}.xml\n{found.fix}\n) >{code}.log 2>&1 &")
    done = cluster_image.run(tmp_path, "chmod 666 *.xml\n" + "\n".join(script) + "\nwait")
    assert set(mended) >= {
        "L01",
        "L02",
        "L03",
        "L04",
        "L05",
        "L06",
        "L07",
        "L09",
        "L10",
        "L11",
        "L12",
        "L14",
        "L15",
        "L34",
    }
    left = {}
    for code, (_, _, found) in mended.items():
        again = [one for one in findings((tmp_path / f"{code}.xml").read_text()) if one.code == code]
        if found in again:
            left[code] = (found.fix, (tmp_path / f"{code}.log").read_text())
    assert left == {}, done.stderr


def test_every_rule_of_these_is_known():
    assert {case.code for case in CASES} <= {one.code for one in lint.known()}
