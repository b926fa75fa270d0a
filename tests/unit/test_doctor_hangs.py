"""Fencing devices that hang: each is told to have failed, and together they cost no more time than one."""

import time
from xml.etree import ElementTree

from doctor_cases import only, results
from hafailover.crm import local
from hafailover.crm.doctor import FAIL, OK, fencing
from hafailover.crm.doctor.here import Here

CIB = """<cib><configuration><crm_config/><resources>
<primitive id="dead1" class="stonith" type="fence_x"/><primitive id="dead2" class="stonith" type="fence_x"/>
<primitive id="dead3" class="stonith" type="fence_x"/><primitive id="good" class="stonith" type="fence_x"/>
</resources></configuration></cib>"""


def test_devices_behind_one_dead_switch(monkeypatch):
    monkeypatch.setattr(fencing, "_LIMIT", 0.3)
    asked = []

    def run(argv, timeout=None):
        asked.append(argv)
        if argv[2] == "good":
            return local.Result(0, "db1\n", "")
        time.sleep(2.2)  # as long as the wait for all of them, 0.3 + 2 s, nearly is
        return local.Result(124, "", "stonith_admin did not answer within 1.3 s")

    begun = time.monotonic()
    told = fencing.read(Here("db1", ElementTree.fromstring(CIB), "", {}, run))
    assert time.monotonic() - begun < 4, "three that hang are waited for at the same time"
    assert told["devices"]["good"] == {"status": "", "list": ["db1"]}
    found = results(fencing, "fencing", {"db1": told})
    assert sorted(one.what.split()[0] for one in found if one.verdict == FAIL) == ["dead1", "dead2", "dead3"]
    assert only(found, "fence-device", OK).what == "good answers db1"
    assert not [argv for argv in asked if argv[1] == "--list-targets" and argv[2] != "good"], (
        "one that failed is not asked again"
    )
