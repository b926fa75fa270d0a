"""The keys ``after`` and ``with`` of a service: what they become, and what is wrong with them."""

from __future__ import annotations

import pytest
from hafailover.crm import generate, topology_check
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import crmsh
from topologies import changed, parse, services

SECOND = "  other: {type: mariadb, port: 3307, datadir: /d, socket: /sKEYS}\n"


def with_second(keys, first=""):
    return changed(("{type: mariadb}\n", "{type: mariadb" + first + "}\n" + SECOND.replace("KEYS", keys)))


def lines(text, *kinds):
    made = crmsh.text(generate.configuration(parse(text)))
    return [line for line in made.splitlines() if line.startswith(kinds) and "other" in line.split(":")[0]]


def test_after_a_service_is_an_order_in_both_directions():
    assert lines(with_second(", after: [db]"), "order", "colocation") == [
        "order other-clone-after-db-clone Mandatory: db-clone:start other-clone:start"
    ]


def test_after_a_role_nobodys_stop_delays_a_promotion():
    assert lines(with_second(", after: [db.primary]"), "order", "colocation") == [
        "order other-clone-after-vip Mandatory: vip:start other-clone:start symmetrical=false",
        "order other-clone-stops-before-vip Optional: other-clone:stop vip:stop symmetrical=false",
    ], "an interleaved clone waits for the address: for the promoted instance it would look on its own node"


def test_after_an_address_is_an_order_in_one_direction():
    assert lines(with_second(", after: [vip]"), "order", "colocation") == [
        "order other-clone-after-vip Mandatory: vip:start other-clone:start symmetrical=false",
        "order other-clone-stops-before-vip Optional: other-clone:stop vip:stop symmetrical=false",
    ]


def test_with_is_a_place_and_an_order():
    assert lines(with_second(", with: db.primary"), "order", "colocation") == [
        "colocation other-clone-with-db-clone-promoted inf: other-clone db-clone:Promoted",
        "order other-clone-after-db-clone-promoted Mandatory: db-clone:promote other-clone:start symmetrical=false",
        "order other-clone-stops-before-db-clone-promoted Optional: other-clone:stop db-clone:demote symmetrical=false",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            with_second(", after: [dbx]"),
            "services.other.after[0]: unknown service 'dbx'; allowed: db, other; did you mean 'db'?",
        ),
        (
            with_second(", after: [db.first]"),
            "services.other.after[0]: unknown role 'first'; allowed: primary, replica",
        ),
        (
            with_second(", with: other"),
            "services.other.with: goes round in a circle, nothing could start first: other after other",
        ),
        (
            with_second(", after: [db]", ", after: [other]"),
            "services.db.after[0]: goes round in a circle, nothing could start first: db after other after db",
        ),
        (
            with_second(", after: [db]", ", on: [db1]"),
            "services.other.after[0]: db does not run on db2; name these in its on, or take it out here",
        ),
        (with_second(", on: [db2], with: db", ", on: [db1]"), "services.other.with: db runs on none of db2"),
        (
            with_second(", after: db"),
            "services.other.after: is 'db'; write a list of SERVICE, SERVICE.ROLE or address names",
        ),
        (with_second(", with: vip"), "services.other.with: unknown service 'vip'"),
        (
            with_second(", after: [vip]", ", after: [vip]"),
            "services.db.after[0]: goes round in a circle, nothing could start first: db after vip after db",
        ),
        (
            with_second(", after: [db.replica]"),
            "services.other.after[0]: an instance on every node can only wait for an address that follows db.replica, and there is none; "
            "add one to vips (follows: db.replica)",
        ),
    ],
)
def test_a_wrong_reference_is_said_where_it_is(text, said):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert said in str(error.value)


def test_a_long_row_of_services_is_checked_in_linear_time(monkeypatch):
    """Each service after the next one, and the last one after the first: what each needs is looked up a few times, not once for each."""
    looked = 0
    needs = topology_check._needs

    def counted(topology, name):
        nonlocal looked
        looked += 1
        return needs(topology, name)

    monkeypatch.setattr(topology_check, "_needs", counted)
    row = "".join(
        f"  s{number}: {{type: nfs-mount, server: x, to: {{m: {{export: /e, directory: /mnt/{number}}}}}, after: [s{number + 1}]}}\n"
        for number in range(300)
    )
    loaded = parse(services(row + "  s300: {type: memcached}\n"))
    assert len(loaded.services) == 302
    assert looked < 3 * 302
    with pytest.raises(UsageError) as caught:
        parse(services(row + "  s300: {type: memcached, after: [s0]}\n"))
    assert "s0 after s1 after s2 after s3 after s4 after s5 after (294 more) after s300 after s0" in str(caught.value)
