"""``hafailover promote --stack`` on a real StackStorm pair: there and back under load, refused, failed, interrupted, killed, cut short.

StackStorm's own services are stand-ins (test equipment, vagrant/standins/st2); the cluster, its fencing, the brokers, the databases,
the shared disk and the NFS server are real.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hafailover.vagrant import command
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.work.drill import WorkDrill
from hafailover.vagrant.lab import Lab, Options
from labs import lab_of, shell, until
from pair import sql
from stack_moves import (
    ended,
    following,
    healthy,
    nothing_left,
    other,
    places,
    primary,
    promote,
    refusals,
    settled,
    status,
    words,
    writing,
)

NAME = "stack"
TOPOLOGY = Path(command.__file__).with_name("topologies") / "stackstorm-pair.yml"
BROKEN = "/run/systemd/system/st2timersengine.service.d/99-broken.conf"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(timeout=300)) as made:
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made


@pytest.fixture
def gathered(lab: Lab) -> tuple[str, str]:
    """(the node that has the whole stack, the other one) of a healthy cluster."""
    healthy(lab)
    node = primary(lab)
    code, told, err = promote(lab, node)
    assert code == 0, (told, err)
    healthy(lab)
    return node, other(lab, node)


def test_a_dry_run_says_what_would_move_and_changes_nothing(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    before, constraints = places(lab), shell(lab, here, "cibadmin -Q -o constraints")
    assert set(before.values()) == {here}
    done = lab.exec(here, words(there, "--dry-run"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    said = " ".join(done.stdout.split())
    for part in (
        f"content (content-disk, content-server) goes from {here} to {there}, and with it files",
        f"single goes from {here} to {there}",
        f"db: {there} applies what it has received",
        "Not moved: mq-clone, mnt-clone, workers-clone (runs on several nodes at a time)",
        "Nothing was changed (--dry-run).",
    ):
        assert part in said
    assert said.index("single goes") < said.index("db: "), "the database goes last"
    assert places(lab) == before
    assert shell(lab, here, "cibadmin -Q -o constraints") == constraints


def test_already_there_is_a_success_that_says_so(lab: Lab, gathered: tuple[str, str]) -> None:
    here, _ = gathered
    code, told, err = promote(lab, here)
    assert (code, told["result"]) == (0, "nothing to do")
    assert f"the whole stack is on {here} already" in err


def test_under_load_no_acknowledged_write_and_no_work_is_lost(
    lab: Lab, gathered: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    here, there = gathered
    outcomes: list[dict[str, Any]] = []

    def strike(stage: Stage) -> None:
        with writing(lab) as written:
            code, told, err = promote(lab, there)
            outcomes.append({"code": code, "err": err, **told})
        outcomes[0]["gap"] = written.gap
        stage.goes_on()

    done = WorkDrill(lab).run("move-stack", here, print, Fault("Move the whole stack", strike, planned=True))
    assert done.problems == (), done
    assert done.acknowledged and done.lost == 0
    told = outcomes[0]
    assert (told["code"], told["result"], told["left_to_do"]) == (0, "done", []), told
    names = [step["name"] for step in told["steps"]]
    assert names.index("moved content") < names.index("db requested") < names.index("db in sync")
    assert {"seen st2", "seen files", "seen sql"} <= set(names)
    assert set(places(lab).values()) == {there}
    nothing_left(lab)
    record_property("the database's write gap in s", told["databases"][0]["write_gap_s"])
    record_property("longest silence of the client in s", told["gap"])


def test_it_stays_there_without_any_constraint(lab: Lab, gathered: tuple[str, str]) -> None:
    here, _ = gathered
    shell(lab, here, "crm_attribute -t crm_config -n hafailover-looked -v 1; crm_resource --wait -T 60", 90)
    assert set(places(lab).values()) == {here}
    shell(lab, here, "crm_attribute -t crm_config -n hafailover-looked -D")


def test_what_is_left_stays_and_the_rest_goes(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    done = lab.exec(here, words(there, "--yes", "--leave", "contents"))
    assert done.returncode == 2
    assert "did you mean content?" in done.stderr
    code, told, err = promote(lab, there, "--leave", "content", "--leave", "db")
    assert (code, told["result"]) == (0, "done"), err
    assert places(lab) == {
        "content": here, "files": here, "sql": here, "primary": here, "st2": there, "single": there,
    }  # fmt: skip
    nothing_left(lab)


def test_refused_where_something_may_not_run(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    shell(lab, here, f"crm_resource --ban -r single -N {there}")
    try:
        code, told, _ = promote(lab, there)
        assert (code, told["result"]) == (3, "refused")
        assert f"single may not run on {there} (constraint cli-ban-single-on-{there})" in refusals(told)["bans"]
        assert "single would be on" in refusals(told)["forecast"]
    finally:
        shell(lab, here, "crm_resource --clear -r single")
    shell(lab, here, f"crm_standby -v on -N {there}; crm_resource --wait -T 200", 220)
    try:
        code, told, _ = promote(lab, there, on=here)
        assert code == 3
        assert refusals(told)["node"] == f"{there} is online, standby"
    finally:
        shell(lab, here, f"crm_standby -D -N {there}; crm_resource --wait -T 200", 220)
    healthy(lab)
    shell(lab, here, "crm_resource -r content --meta -p is-managed -v false")
    try:
        code, told, _ = promote(lab, there)
        assert code == 3
        assert "does not manage content-disk, content-server" in refusals(told)["managed"]
    finally:
        shell(lab, here, "crm_resource -r content --meta -d is-managed")
    assert set(places(lab).values()) == {here}


def test_refused_where_it_would_not_stay(lab: Lab, gathered: tuple[str, str]) -> None:
    """A preference that weighs more than the stickiness brings it home as soon as ours is gone."""
    here, there = gathered
    xml = f'<rsc_location id="at-home" rsc="single" node="{here}" score="500"/>'
    shell(lab, here, f"cibadmin --create -o constraints --xml-text '{xml}'")
    try:
        code, told, _ = promote(lab, there)
        assert code == 3
        assert f"single stops on {there}" in refusals(told)["stays"]
    finally:
        shell(lab, here, "cibadmin --delete --xml-text '<rsc_location id=\"at-home\"/>'")
    assert set(places(lab).values()) == {here}


def test_two_people_at_once(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    going = following(lab, there, here)
    going.await_line("asked Pacemaker to bring")
    code, _, err = promote(lab, here, on=there)
    assert code == 3
    assert "is being changed on" in err
    assert f"promote {there} --stack" in err
    done = lab.exec(there, ["hafailover", "promote", there, "--yes"], timeout=240)
    assert done.returncode == 3 and f"promote {there} --stack" in done.stderr, "the database alone has to wait, too"
    assert ended(going)[0] == 0
    assert set(places(lab).values()) == {there}


def test_a_start_that_fails_takes_everything_back_and_no_writer_notices(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    epoch = status(lab)["services"][0]["journal"]["epoch"]
    shell(
        lab,
        there,
        f"mkdir -p $(dirname {BROKEN}); printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{BROKEN}; systemctl daemon-reload",
    )
    try:
        with writing(lab):
            code, told, err = promote(lab, there)
    finally:
        shell(lab, there, f"rm -f {BROKEN}; systemctl daemon-reload; crm_resource --cleanup -r single -N {there}")
    assert (code, told["result"]) == (1, "rolled back"), (told, err)
    assert "start of single failed" in told["says"]
    assert [one for one in told["left_to_do"] if f"crm_resource --cleanup -r single -N {there}" in one]
    healthy(lab)
    assert set(places(lab).values()) == {here}
    assert status(lab)["services"][0]["journal"]["epoch"] == epoch, "the database was not touched"
    nothing_left(lab)


def test_an_interrupt_takes_everything_back(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    going = following(lab, there, there)
    going.await_line(f"st2 is on {there}")
    lab.kill(there, going.pid, signal.SIGINT)
    code, said = ended(going)
    assert code == 1, said
    assert "interrupted" in said
    assert "ROLLED BACK" in said
    healthy(lab)
    assert set(places(lab).values()) == {here}
    nothing_left(lab)


def test_a_database_that_does_not_go_takes_the_rest_back(lab: Lab, gathered: tuple[str, str]) -> None:
    """The new primary's server dies while it applies the rest."""
    here, there = gathered
    holder = lab.popen(there, ["mariadb", "-e", "LOCK TABLES proof.rows WRITE; SELECT SLEEP(600)"])
    try:
        until("the table is locked", lambda: "SLEEP" in sql(lab, there, "SHOW FULL PROCESSLIST").upper())
        number = int(sql(lab, here, "SELECT COALESCE(MAX(id), 0) + 1 FROM proof.rows"))
        sql(lab, here, f"INSERT INTO proof.rows VALUES ({number})")
        going = following(lab, there, there, "--accept", "lag")
        going.await_line(f"{here} accepts no more writes")
        lab.kill(there, "hafailover-mariadb-db.service", signal.SIGKILL)
        code, said = ended(going)
    finally:
        holder.kill()
        holder.wait()
    assert code == 1, said
    assert f"{here} is the primary of db as before" in said
    lab.exec(here, ["crm_resource", "--cleanup", "-r", "db"], check=True)
    healthy(lab)
    assert set(places(lab).values()) == {here}
    nothing_left(lab)


def test_a_target_that_dies_half_way_gives_everything_back(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    with writing(lab):
        going = following(lab, there, here)
        going.await_line(f"st2 is on {there}")
        lab.power_off(there, hold=True)
        try:
            code, said = ended(going)
            assert code == 1, said
            assert f"{there} left the cluster" in said
            assert set(places(lab, here).values()) == {here}
            nothing_left(lab, here)
        finally:
            lab.power_on(there)
            lab.await_boot(there)
        healthy(lab)


def test_a_killed_command_leaves_nothing_behind(lab: Lab, gathered: tuple[str, str]) -> None:
    """Its preferences end by themselves, and a moment later somebody who has outlived it removes them."""
    here, there = gathered
    going = following(lab, there, here, "--timeout", "10")
    going.await_line("asked Pacemaker to bring")
    lab.kill(here, going.pid, signal.SIGKILL)
    began = time.monotonic()
    ended(going)
    at = {"content": there, "files": there, "st2": there, "single": there, "sql": here, "primary": here}
    until("what had begun is finished, and nothing more is begun", lambda: settled(lab) == at)
    left = [one["what"] for one in status(lab)["leftovers"]]
    assert any("of single (cli-prefer-single)" in one for one in left) or time.monotonic() - began > 70, left
    until("the preferences have ended", lambda: time.monotonic() - began > 71, 100)
    told = status(lab)
    assert all(one["what"].startswith("expired move") for one in told["leftovers"])
    until("nothing is left", lambda: "cli-" not in shell(lab, here, "cibadmin -Q -o constraints"), 60)
    healthy(lab)
    assert places(lab) == at, "nothing has moved when they ended"
    nothing_left(lab)


def test_a_killed_command_does_not_keep_the_next_one_from_its_work(lab: Lab, gathered: tuple[str, str]) -> None:
    here, there = gathered
    going = following(lab, there, here)
    going.await_line("asked Pacemaker to bring")
    lab.kill(here, going.pid, signal.SIGKILL)
    ended(going)
    until("what had begun is over", lambda: status(lab)["idle"] and all(settled(lab).values()))
    code, told, err = promote(lab, here)
    assert code == 0, (told, err)
    healthy(lab)
    assert set(places(lab).values()) == {here}
    assert "cli-" not in shell(lab, here, "cibadmin -Q -o constraints")
