"""StackStorm's agent: which units run where, what facts about them mean, and what it remembers."""

from __future__ import annotations

import pytest
from hafailover.agents import sockets, web
from hafailover.agents.ocf import ERR_INSTALLED, OcfError
from hafailover.agents.st2 import conf, decide, installed, memory, names
from hafailover.agents.st2.installed import Fragment
from hafailover.agents.units import State


def state(active: str = "inactive", result: str = "success", job: int = 0) -> State:
    return State("loaded", active, "dead", 0, result, job)


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_words_name_every_service_once() -> None:
    both = names.Wanted("active").names + names.Wanted("singleton").names
    assert len(both) == len(set(both)) == 12
    assert not set(names.ACTIVE) & set(names.SINGLETON)


@pytest.mark.parametrize(
    ("text", "wanted", "explicit"),
    [
        ("st2api", ("st2api",), ("st2api",)),
        ("st2api.service, st2auth", ("st2api", "st2auth"), ("st2api", "st2auth")),
        ("active st2sensorcontainer", (*names.ACTIVE, "st2sensorcontainer"), ("st2sensorcontainer",)),
        ("singleton -st2sensorcontainer", ("st2garbagecollector", "st2timersengine", "st2chatops"), ()),
        ("st2actionrunner@3", ("st2actionrunner@3",), ("st2actionrunner@3",)),
    ],
)
def test_units_are_words_and_names(text: str, wanted: tuple[str, ...], explicit: tuple[str, ...]) -> None:
    found = names.Wanted(text)
    assert (found.names, found.explicit) == (wanted, explicit)


@pytest.mark.parametrize("text", ["", "st2api;reboot", "st2api -st2api", "../x", "--all"])
def test_units_that_are_none_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write active, singleton, or names such as st2api"):
        names.Wanted(text)


def test_watched_resources_have_a_kind() -> None:
    assert names.watched("mq=broker, mnt=content db") == {"mq": "broker", "mnt": "content", "db": "all"}
    with pytest.raises(ValueError, match="a kind is broker, database, content, all"):
        names.watched("mq=rabbit")


def test_only_who_depends_on_it_begins_anew() -> None:
    all_ = [*names.ACTIVE, *names.SINGLETON, "st2actionrunner@2"]
    assert set(names.needing(all_, ["content"])) == {"st2actionrunner", "st2actionrunner@2", "st2sensorcontainer"}
    broker = names.needing(all_, ["broker"])
    assert "st2scheduler" in broker
    assert not {"st2api", "st2auth", "st2garbagecollector", "st2chatops"} & set(broker)
    assert "st2garbagecollector" in names.needing(all_, ["database"])
    assert names.needing(all_, ["all"]) == all_
    assert names.needing(all_, []) == []


# -- what is installed --------------------------------------------------------------------------------------------------


def there(*loaded: str, enabled: str = "") -> dict[str, Fragment]:
    return {f"{name}.service": Fragment("loaded", "enabled" if name == enabled else "disabled") for name in loaded}


def test_action_runners_are_instances_where_there_is_a_template() -> None:
    found = installed.choose(names.Wanted("active"), there("st2api", "st2actionrunner", "st2actionrunner@1"), 3)
    assert found.names == ("st2actionrunner@1", "st2actionrunner@2", "st2actionrunner@3", "st2api")
    assert installed.templates(found.names) == {
        "st2actionrunner@.service": "st2actionrunner",
        "st2api.service": "st2api",
    }


def test_a_plain_action_runner_is_one_unit() -> None:
    assert installed.choose(names.Wanted("active"), there("st2actionrunner"), 3).names == ("st2actionrunner",)


def test_what_a_word_names_need_not_be_installed_what_is_named_must() -> None:
    assert installed.choose(names.Wanted("singleton"), there("st2timersengine"), 1).names == ("st2timersengine",)
    with pytest.raises(OcfError, match="st2chatops is not installed on this node; install it") as caught:
        installed.choose(names.Wanted("singleton st2chatops"), there("st2timersengine"), 1)
    assert caught.value.rc == ERR_INSTALLED
    masked = {"st2chatops.service": Fragment("masked", "masked")}
    with pytest.raises(OcfError, match="st2chatops is masked"):
        installed.choose(names.Wanted("st2chatops"), masked, 1)
    found = installed.choose(names.Wanted("singleton"), {**there("st2timersengine"), **masked}, 1)
    assert (found.names, found.masked) == (("st2timersengine",), ("st2chatops.service",))
    assert "systemctl unmask st2chatops.service" in str(decide.masked_warning(found.masked))
    assert decide.masked_warning(()) is None


def test_nothing_installed_says_what_to_do() -> None:
    with pytest.raises(OcfError, match="install StackStorm's packages") as caught:
        installed.choose(names.Wanted("active"), {}, 1)
    assert caught.value.rc == ERR_INSTALLED


def test_units_enabled_at_boot_are_found() -> None:
    found = installed.choose(names.Wanted("active"), there("st2api", "st2auth", enabled="st2api"), 1)
    assert found.enabled == ("st2api.service",)
    assert "systemctl disable st2api.service" in str(decide.boot_warning(found.enabled))
    assert decide.boot_warning(()) is None


# -- deaths and hangs -----------------------------------------------------------------------------------------------------


def test_a_disabled_timer_engine_has_not_died() -> None:
    assert decide.death("st2timersengine", state(), timers_disabled=True) is None
    assert decide.death("st2timersengine", state(), timers_disabled=False)
    assert decide.death("st2timersengine", state("failed", "exit-code"), timers_disabled=True)
    assert decide.death("st2scheduler", state(), timers_disabled=True)


def test_a_death_says_of_what() -> None:
    assert decide.death("st2api", state("failed", "signal"), timers_disabled=False) == "died (signal)"


@pytest.mark.parametrize(
    ("silent", "stopped", "unconnected", "hung"),
    [(0, 0, 0, ""), (1, 1, 2, ""), (2, 0, 0, "HTTP"), (0, 2, 0, "state T"), (0, 0, 3, "broker")],
)
def test_a_hang_shows_in_several_monitors(silent: int, stopped: int, unconnected: int, hung: str) -> None:
    reason = decide.hung(silent, stopped, unconnected)
    assert (hung in reason) if reason else not hung


def test_what_many_have_is_said_once() -> None:
    wrong = {"st2api": "died (signal)", "st2auth": "ended", "st2stream": "died (signal)"}
    assert decide.together(wrong) == "st2api, st2stream died (signal); st2auth ended"


ONE, TWO, OTHER = ("10.0.0.1", 5672), ("10.0.0.2", 5672), ("10.0.0.9", 5672)


@pytest.mark.parametrize(
    ("remotes", "before", "works", "lost"),
    [
        ({ONE}, True, {ONE: True, TWO: False}, False),  # connected to the one that works
        ({TWO}, True, {ONE: True, TWO: False}, True),  # half-open: the other has lost its power
        ({ONE, TWO}, True, {ONE: True, TWO: False}, False),
        (set(), True, {ONE: True, TWO: True}, True),  # hangs after it gave up (st2 #6097, #4731)
        (set(), False, {ONE: True, TWO: True}, None),  # was never seen with one: perhaps it needs none yet
        (set(), True, {ONE: False, TWO: False}, None),  # nothing to connect to: a restart would not help
        ({OTHER}, True, {ONE: True}, False),  # a balancer, a changed address: nothing is known of it
        (set(), True, {}, None),
    ],
)
def test_a_consumer_has_lost_its_broker(
    remotes: set[tuple[str, int]], before: bool, works: dict[tuple[str, int], bool], lost: bool | None
) -> None:
    assert decide.unconnected(remotes, before, works) is lost


def test_restarts_in_place_are_bounded() -> None:
    assert decide.exhausted([], 1000, 3, 600) is None
    assert decide.exhausted([10, 20, 990], 1000, 3, 600) is None
    assert "have not helped" in str(decide.exhausted([500, 600, 990], 1000, 3, 600))
    assert decide.exhausted([], 1000, 0, 600) == "this resource restarts nothing in place"


def test_a_restart_takes_only_so_long() -> None:
    assert decide.overdue("st2api", 100, 150, 60) is None
    assert "not over after 70 s" in str(decide.overdue("st2api", 100, 170, 60))


def test_a_generation_is_followed_once_also_backwards() -> None:
    assert decide.changed({"mq": 3}, {"mq": 3, "db": 0}) == []
    assert decide.changed({"mq": 3}, {"mq": 4, "db": 1}) == ["mq", "db"]
    assert decide.changed({"mq": 3}, {"mq": 0}) == ["mq"]


def test_a_drain_that_stackstorm_does_not_keep_is_said() -> None:
    assert decide.drain_warning(60, 300, coordinated=True) is None
    assert "service_registry" in str(decide.drain_warning(60, 300, coordinated=False))
    assert "exit_still_active_check" in str(decide.drain_warning(600, 300, coordinated=True))
    assert decide.drain_warning(0, 300, coordinated=False) is None


@pytest.mark.parametrize("status", ["requested", "scheduled", "running", "delayed", "", "paused"])
def test_a_stuck_execution_says_where(status: str) -> None:
    assert decide.stuck(status)
    assert set(decide.stuck_units(status)) <= set(names.ACTIVE)


# -- configuration ----------------------------------------------------------------------------------------------------


def test_brokers_are_read_without_their_secrets() -> None:
    both = conf.Conf(
        "[messaging]\ncluster_urls = amqp://st2:p%40ss@10.0.0.1:5672/, amqps://st2:x@mq2/\nurl = amqp://z\n"
    )
    assert both.brokers == [("10.0.0.1", 5672), ("mq2", 5671)]
    assert conf.Conf("[messaging]\nurl = amqp://guest:guest@127.0.0.1/\n").brokers == [("127.0.0.1", 5672)]
    assert conf.Conf("").brokers == []
    assert conf.Conf("[messaging]\nurl = amqp://host:port/\n").brokers == []


@pytest.mark.parametrize(
    ("text", "disabled"),
    [
        ("", False),
        ("[timer]\nenable = False\n", False),  # st2 #6039: this alone disables nothing
        ("[timersengine]\nenable = False\n", True),
        ("[timersengine]\nenable = False\n[timer]\nenable = True\n", False),
    ],
)
def test_when_timers_are_disabled(text: str, disabled: bool) -> None:
    assert conf.Conf(text).timers_disabled is disabled


def test_coordination_and_time_to_finish() -> None:
    assert not conf.Conf("[coordination]\nurl = redis://r\n").coordinated
    assert conf.Conf("[coordination]\nurl = redis://r\nservice_registry = True\n").coordinated
    assert conf.Conf("").still_active == 300
    assert conf.Conf("[actionrunner]\nexit_still_active_check = 20\n").still_active == 20
    assert conf.Conf("[actionrunner]\ngraceful_shutdown = False\n").still_active == 0


def test_what_is_no_configuration_is_said() -> None:
    with pytest.raises(ValueError, match="no section headers"):
        conf.Conf("url = x\n")


def test_number_of_action_runners() -> None:
    assert conf.workers(["# WORKERS=9\nWORKERS=4\n"]) == 4
    assert conf.workers(['export WORKERS="2"\n']) == 2
    assert conf.workers(["WORKERS=many\n"]) == conf.DEFAULT_WORKERS
    assert conf.workers([]) == conf.DEFAULT_WORKERS


# -- the kernel's words, HTTP, memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digits", "address"),
    [
        ("0B004D0A", "10.77.0.11"),
        ("0000000000000000FFFF00000B004D0A", "10.77.0.11"),
        ("B80D0120000000000000000001000000", "2001:db8:0:0:0:0:0:1"),
    ],
)
def test_addresses_of_the_kernel(digits: str, address: str) -> None:
    assert sockets.host(digits) == address
    if ":" not in address and len(digits) == 8:
        assert sockets.digits(bytes(map(int, address.split(".")))) == digits


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:9101", ("127.0.0.1", 9101, "/")),
        ("http://st2/api/v1", ("st2", 80, "/api/v1")),
        ("http://[::1]:9101/", ("::1", 9101, "/")),
        ("http://[::1]", ("::1", 80, "/")),
    ],
)
def test_urls(url: str, parts: tuple[str, int, str]) -> None:
    assert web.parse(url) == parts


@pytest.mark.parametrize("url", ["https://st2", "127.0.0.1:9101", "http://:9101", "http://x:y", "http://x:0"])
def test_what_is_no_url_for_a_monitor(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        web.parse(url)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.1 401 Unauthorized\r\n", None),
        (b"HTTP/1.1 404 Not Found\r\n", None),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers with the error 503 Service Unavailable"),
        (b"", "does not speak HTTP"),
        (b"AMQP\x00\x00\x09\x01", "does not speak HTTP"),
    ],
)
def test_answers(answer: bytes, wrong: str | None) -> None:
    assert web.verdict(answer) == wrong


def test_memory_is_what_was_kept() -> None:
    kept = memory.Memory()
    kept.units = {"st2api": memory.Unit("st2api", 7, "99", 0.0, 1, 0, 2, 1), "st2auth": memory.Unit("st2auth")}
    kept.units["st2auth"].restarting(12.5)
    kept.generations, kept.deaths, kept.brokers = {"mq": 4}, [1.5], [ONE]
    kept.deep, kept.anew = 1, 3.25
    assert memory.parse(kept.text()).text() == kept.text()
    with pytest.raises(ValueError, match="unknown line"):
        memory.parse("what is this\n")


def test_a_new_process_begins_with_a_clean_slate() -> None:
    unit = memory.Unit("st2api", 7, "99", 0.0, 1, 1, 2, 1)
    unit.renew(8, "100")
    assert (unit.silent, unit.stopped, unit.unconnected, unit.met) == (0, 0, 0, 0)
