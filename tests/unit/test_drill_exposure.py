"""The search for passwords: every planted one is found, and a search that cannot find anything is no search."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hafailover.crm.drill import exposure

PASSWORD = "Correct-Horse-Battery"
CREDENTIALS = "/etc/hafailover/db.cred"


class FakeLab:
    """One node that shows what it is told to show; ``files`` maps those with the password in them to their modes."""

    data_nodes = ("db1",)

    def __init__(self, **shows: str) -> None:
        self.shows = {"journal": "nothing", "credentials": f"[replication]\nuser = u\npassword = {PASSWORD}\n", **shows}
        self.files = {CREDENTIALS: "600"}

    def logs(self, node: str) -> str:
        return self.shows["journal"]

    def exec(self, node, argv, timeout=0, input=None, *, check=False):
        if argv[0] == "grep":
            assert input == PASSWORD + "\n"
            return SimpleNamespace(stdout="\n".join(self.files))
        if argv[0] == "stat":
            return SimpleNamespace(stdout="".join(f"{mode} {name}\n" for name, mode in self.files.items()))
        if argv[0] == "sh":
            return SimpleNamespace(stdout=self.shows["credentials"])
        return SimpleNamespace(stdout=self.shows.get(argv[0], "nothing"))


def test_nothing_is_found_where_nothing_is():
    assert exposure.found(FakeLab()) is None


@pytest.mark.parametrize(
    "place", ["journal", "ps", "cibadmin", "crm_mon", "hafailover", "systemctl", "corosync-cmapctl"]
)
def test_a_password_in_plain_sight_is_found(place):
    said = exposure.found(FakeLab(**{place: f"x --password={PASSWORD} y"}))
    assert said is not None and said.endswith("on db1 shows a password") and PASSWORD not in said


def test_a_file_that_others_may_read_is_found():
    lab = FakeLab()
    lab.files["/var/log/x"] = "640"
    assert exposure.found(lab) == "/var/log/x on db1 holds a password and others may read it"


def test_a_search_that_is_none_is_said():
    assert "shows nothing" in str(exposure.found(FakeLab(ps="")))
    assert "cannot be searched for" in str(exposure.found(FakeLab(credentials="[replication]\n")))
    assert "cannot be searched for" in str(exposure.found(FakeLab(credentials="password = short\n")))
    lab = FakeLab()
    lab.files = {}
    assert "did not even find" in str(exposure.found(lab))
