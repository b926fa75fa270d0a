"""The checklist of moving a stack: what refuses, what may be accepted, and what the plan says."""

from hafailover.crm.stack import Mover, Stack
from hafailover.crm.stack_checks import checks, plan, steps
from hafailover.crm.stack_forecast import Forecast
from hafailover.crm.stack_preferences import Existing
from hafailover.crm.status import Ban, Failure, Resource
from stack_cluster import HERE, STACK, VIP
from status_samples import status as recorded

FINE = Forecast(moved={"content": "db2", "files": "db2", "app": "db2"}, databases={"db": "db2"}, led={"vip": "db2"})


def checked(status=None, forecast=FINE, left=(), accepted=frozenset(), places=HERE):
    found = status or recorded("healthy")
    wanted = plan(found, STACK, "db2", places)
    return {one.name: one for one in checks(found, wanted, forecast, left, {}, accepted)}


def refusing(found):
    return {name: check.says for name, check in found.items() if check.refuses}


def test_a_healthy_cluster_is_let_pass():
    assert refusing(checked()) == {}


def test_each_reason_is_told():
    healthy = recorded("healthy")
    ban = Ban("b1", "server", "db2", -1000000, False)
    assert refusing(checked(healthy._replace(bans=(ban,)))) == {"bans": "server may not run on db2 (constraint b1)"}
    assert "moved by hand" in refusing(checked(left=[Existing("cli-prefer-app", "app", None)]))["bans"]
    assert refusing(checked(left=[Existing("cli-prefer-app", "app", healthy.at - 5)])) == {}, "it has ended"
    assert refusing(checked(left=[Existing("cli-prefer-app", "app", healthy.at + 50, ours=True)])) == {}, "he is dead"
    assert refusing(checked(healthy._replace(managing=False)))["managed"].startswith("the cluster is in maintenance")
    torn = {**HERE, "content": ""}
    assert "content does not run on one node" in refusing(checked(places=torn))["running"]
    assert set(refusing(checked(forecast=Forecast(error="no crm_simulate")))) == {"forecast"}
    assert "x stops on db1" in refusing(checked(forecast=Forecast(due=("x stops on db1",), moved=FINE.moved)))["rest"]
    assert "app would be nowhere" in refusing(checked(forecast=Forecast(moved={**FINE.moved, "app": ""})))["forecast"]
    fenced = Forecast(moved=FINE.moved, fenced=("db1",))
    assert "db1 would be fenced" in refusing(checked(forecast=fenced))["forecast"]
    led = Forecast(moved=FINE.moved, led={"vip": "db1"})
    assert "vip would be on db1" in refusing(checked(forecast=led))["forecast"]
    drifts = Forecast(moved=FINE.moved, drifts=("app stops on db2",))
    assert "it would not stay on db2" in refusing(checked(forecast=drifts))["stays"]


def test_what_goes_with_a_database_is_looked_at_like_the_rest():
    """A report that is tied to the primary: its role would have moved, and it have stayed behind, or failed there again."""
    report = Mover("report", "", ("report",), "db-clone")
    known, places = Stack((VIP, report), {"db-clone": "db"}, {}), {"vip": "db1", "report": "db1"}
    ahead = Forecast(databases={"db": "db2"}, led={"vip": "db2", "report": "db2"})
    healthy = recorded("healthy")

    def against(status):
        wanted = plan(status, known, "db2", places)
        return {one.name: one.says for one in checks(status, wanted, ahead, (), {}) if one.refuses}

    fine = Resource("report", "ocf:x:y", "", "Started", "", ("db1",), True, False, False, False, True)
    assert against(healthy._replace(resources=(fine,))) == {}
    loose = fine._replace(managed=False)
    assert against(healthy._replace(resources=(loose,))) == {"managed": "Pacemaker does not manage report"}
    for name, refused in (("report", True), ("vip", False)):
        failed = Failure(name, "db2", "start", 1, "complete", "no such file", None, False, 1, 3)
        banned = Ban("b1", name, "db2", -1000000, False)
        found = against(healthy._replace(failures=(failed,), bans=(banned,)))
        assert set(found) == ({"failures", "bans"} if refused else set()), "those of the address are the database's"


def test_only_what_is_interrupted_elsewhere_may_be_accepted():
    disturbed = Forecast(moved=FINE.moved, disturbed=("mnt stops on db1",))
    assert set(refusing(checked(forecast=disturbed))) == {"elsewhere"}
    assert refusing(checked(forecast=disturbed, accepted=frozenset({"elsewhere"}))) == {}
    drifts = Forecast(moved=FINE.moved, drifts=("app stops on db2",))
    assert set(refusing(checked(forecast=drifts, accepted=frozenset({"stays", "forecast"})))) == {"stays"}


def test_a_role_whose_data_nobody_here_knows_is_refused_until_somebody_accepts_it():
    role = Mover("my-clone", "Promoted", ("my",), "my-clone")
    found = recorded("healthy")
    wanted = plan(found, Stack((role,), {}, {}), "db2", {"my-clone": "db1"})
    ahead = Forecast(moved={"my-clone": "db2"})
    (told,) = [one for one in checks(found, wanted, ahead, (), {}) if one.refuses]
    assert (told.name, told.acceptable) == ("roles", True)
    assert "the primary of my-clone is its own agent's affair" in told.says
    assert [one for one in checks(found, wanted, ahead, (), {}, frozenset({"roles"})) if one.refuses] == []


def test_the_plan_says_what_goes_with_what():
    wanted = plan(recorded("healthy"), STACK, "db2", HERE)
    assert steps(wanted, FINE, {"db": ("db1 is closed",)}) == (
        "content (disk, server) goes from db1 to db2, and with it files",
        "app goes from db1 to db2",
        "db: db1 is closed",
    )
    there = plan(recorded("healthy"), STACK, "db1", HERE)
    assert there.nothing
    assert there.there == ("content", "app", "the primary of db")
