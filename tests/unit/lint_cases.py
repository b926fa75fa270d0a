"""Configurations that a rule must flag, and the nearest ones that it must not: small CIBs, for crmsh and Pacemaker to load as well."""

from __future__ import annotations

from dataclasses import dataclass

DUMMY = 'class="ocf" provider="heartbeat" type="Dummy"'
STATEFUL = 'class="ocf" provider="pacemaker" type="Stateful"'
VIP_AGENT = 'class="ocf" provider="heartbeat" type="IPaddr2"'
_START = '<op id="{0}-start" name="start" interval="0" timeout="240s"/><op id="{0}-stop" name="stop" interval="0" timeout="240s"{1}/>'


@dataclass(frozen=True)
class Case:
    """A configuration: ``silent``: Pacemaker's own check says nothing of what the rule finds (in services.md: !)."""

    code: str
    name: str
    cib: str
    flagged: bool
    silent: bool = True

    def __str__(self):
        return f"{self.code}-{'bad' if self.flagged else 'good'}-{self.name}"


def nvpairs(owner, **given):
    return "".join(
        f'<nvpair id="{owner}-{key}" name="{key.replace("_", "-")}" value="{value}"/>' for key, value in given.items()
    )


def meta(owner, **given):
    return f'<meta_attributes id="{owner}-meta">{nvpairs(f"{owner}-meta", **given)}</meta_attributes>'


def params(owner, **given):
    pairs = "".join(f'<nvpair id="{owner}-p-{key}" name="{key}" value="{value}"/>' for key, value in given.items())
    return f'<instance_attributes id="{owner}-params">{pairs}</instance_attributes>'


def op(owner, name, interval, **more):
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in {"timeout": "60s", **more}.items())
    return f'<op id="{owner}-{name}-{interval}{more.get("role", "")}" name="{name}" interval="{interval}"{given}/>'


def primitive(id, agent=DUMMY, ops=None, inside="", stop="", attributes=""):
    written = op(id, "monitor", "10s") if ops is None else ops
    return f'<primitive id="{id}" {agent}{attributes}>{inside}<operations>{_START.format(id, stop)}{written}</operations></primitive>'


def roles(id, promoted="9s", unpromoted="10s", names=("Promoted", "Unpromoted")):
    return op(id, "monitor", promoted, role=names[0]) + op(id, "monitor", unpromoted, role=names[1])


def database(id="db", ops=None, inside="", names=("Promoted", "Unpromoted"), **more):
    said = meta(f"{id}-clone", promotable="true", **more)
    both = roles(id, names=names) if ops is None else ops
    timed = op(id, "promote", "0") + op(id, "demote", "0")
    return f'<clone id="{id}-clone">{said}{primitive(id, STATEFUL, both + timed, inside)}</clone>'


def vip(id="vip", ip="192.0.2.10"):
    return primitive(id, VIP_AGENT, inside=params(id, ip=ip))


def fence(node, ops=None, **more):
    given = {
        "pcmk_host_list": node,
        "ip": f"198.51.100.{node[-1]}",
        "username": "u",
        "password_script": "/etc/p",
        **more,
    }
    given = {key: value for key, value in given.items() if value is not None}
    id = f"fence-{node}"
    written = op(id, "monitor", "60s") if ops is None else ops
    return f'<primitive id="{id}" class="stonith" type="fence_ipmilan">{params(id, **given)}<operations>{written}</operations></primitive>'


FENCED = fence("n1") + fence("n2")
NODES = '<node id="1" uname="n1"/><node id="2" uname="n2"/>'
COLOCATED = '<rsc_colocation id="vip-with-db" score="INFINITY" rsc="vip" with-rsc="db-clone" with-rsc-role="Promoted"/>'
ORDERED = '<rsc_order id="vip-after-db" kind="Mandatory" first="db-clone" first-action="promote" then="vip" then-action="start"/>'


def cib(resources="", constraints="", properties="", fencing=FENCED, nodes=NODES, schema="3.7", more="", **given):
    """A whole CIB, right in everything that is not said."""
    said = {"stonith_enabled": "true", "no_quorum_policy": "stop", **given}
    bootstrap = nvpairs("cib-bootstrap-options", **{key: value for key, value in said.items() if value is not None})
    return (
        f'<cib validate-with="pacemaker-{schema}" crm_feature_set="3.16.1" epoch="1" num_updates="0" admin_epoch="0"><configuration>'
        f'<crm_config><cluster_property_set id="cib-bootstrap-options">{bootstrap}</cluster_property_set>{properties}</crm_config>'
        f"<nodes>{nodes}</nodes><resources>{fencing}{resources}</resources><constraints>{constraints}</constraints>{more}"
        "</configuration><status/></cib>"
    )


def clone(id, inside, **given):
    return f'<clone id="{id}">{meta(id, **given) if given else ""}{inside}</clone>'


def group(id, *members, inside=""):
    return f'<group id="{id}">{inside}{"".join(members)}</group>'


def order(id, first, then, **more):
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<rsc_order id="{id}" first="{first}" then="{then}"{given}/>'


def colocation(id, rsc, with_rsc, score="INFINITY", **more):
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<rsc_colocation id="{id}" score="{score}" rsc="{rsc}" with-rsc="{with_rsc}"{given}/>'


def location(id, rsc, node, score="-INFINITY", **more):
    given = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<rsc_location id="{id}" rsc="{rsc}" node="{node}" score="{score}"{given}/>'


def refs(id, names, **more):
    given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return (
        f'<resource_set id="{id}"{given}>'
        + "".join(f'<resource_ref id="{name}"/>' for name in names.split())
        + "</resource_set>"
    )


PAIR = database() + vip()
MYSQL = PAIR.replace('"pacemaker" type="Stateful"', '"heartbeat" type="mysql"')
APPS = primitive("a") + primitive("b") + primitive("c")
DATE = '<rule id="r" score="0" boolean-op="and"><date_expression id="d" operation="gt" start="2020-01-01"/></rule>'


def _bad(code, name, text, silent=True):
    return Case(code, name, text, True, silent)


def _good(code, name, text):
    return Case(code, name, text, False)


def _noisy(code, name, text):
    """A right one of which Pacemaker says something that has nothing to do with it."""
    return Case(code, name, text, False, False)


CASES = [
    # 1
    _bad("L01", "colocation alone", cib(PAIR, COLOCATED)),
    _bad("L01", "order alone", cib(PAIR, ORDERED)),
    _bad("L01", "order of the start", cib(PAIR, COLOCATED + order("o", "db-clone", "vip"))),
    _bad("L01", "in a group", cib(database() + group("g", primitive("a"), vip()), COLOCATED.replace('rsc="vip"', 'rsc="g"', 1))),
    _bad("L01", "old words", cib(
        database(names=("Master", "Slave")) + vip(), COLOCATED.replace("Promoted", "Master"), schema="3.6")),
    _bad("L01", "by sets", cib(PAIR, f'<rsc_colocation id="s" score="INFINITY">{refs("s1", "vip")}'
                               f'{refs("s2", "db-clone", role="Promoted")}</rsc_colocation>')),
    _good("L01", "both", cib(PAIR, COLOCATED + ORDERED)),
    _good("L01", "optional", cib(PAIR, COLOCATED + ORDERED.replace("Mandatory", "Optional"))),
    _good("L01", "through another", cib(
        PAIR + primitive("app"), COLOCATED.replace('rsc="vip"', 'rsc="app"', 1) + colocation("c", "vip", "app")
        + ORDERED.replace('then="vip"', 'then="app"') + order("o", "app", "vip"))),
    _good("L01", "group by its first", cib(database() + group("g", primitive("a"), vip()),
                                           (COLOCATED + ORDERED).replace('"vip"', '"g"'))),
    _good("L01", "by sets", cib(PAIR, f'<rsc_colocation id="s" score="INFINITY">{refs("s1", "vip")}'
                                f'{refs("s2", "db-clone", role="Promoted")}</rsc_colocation><rsc_order id="t">'
                                f'{refs("t1", "db-clone", action="promote")}{refs("t2", "vip", action="start")}</rsc_order>')),
    _good("L01", "an application", cib(database() + primitive("app"), COLOCATED.replace('"vip"', '"app"'))),
    _good("L01", "readers", cib(PAIR, COLOCATED.replace("Promoted", "Unpromoted"))),
    # 2
    _bad("L02", "no role", cib(PAIR, COLOCATED.replace(' with-rsc-role="Promoted"', "") + order("o", "db-clone", "vip"))),
    _bad("L02", "no role, with order", cib(PAIR, COLOCATED.replace(' with-rsc-role="Promoted"', "") + ORDERED)),
    _bad("L02", "Started is any", cib(PAIR, COLOCATED.replace("Promoted", "Started") + ORDERED)),
    _bad("L02", "reversed", cib(MYSQL, colocation("c", "db-clone", "vip", rsc_role="Promoted"))),
    _bad("L02", "reversed without role", cib(MYSQL, colocation("c", "db-clone", "vip"))),
    _good("L02", "readers beside", cib(
        PAIR + vip("reads", "192.0.2.11"), COLOCATED + ORDERED + colocation("c", "reads", "db-clone"))),
    _good("L02", "apart", cib(PAIR, COLOCATED + ORDERED + colocation("c", "vip", "db-clone", "-100", with_rsc_role="Unpromoted"))),
    _good("L02", "what lets an address's clients in", cib(
        MYSQL.replace('type="mysql"', 'type="portblock"'),
        colocation("c", "db-clone", "vip", rsc_role="Promoted"))),
    _good("L02", "plain clone", cib(clone("a-clone", primitive("a")) + vip(), colocation("c", "vip", "a-clone"))),
    # 3
    _bad("L03", "plain clone", cib(clone("db-clone", primitive("db")) + vip(), COLOCATED)),
    _bad("L03", "promote of a primitive", cib(APPS, order("o", "a", "b", first_action="promote", then_action="start"))),
    _bad("L03", "promotable off", cib(
        clone("a-clone", primitive("a"), promotable="0"), location("l", "a-clone", "n1", "50", role="Promoted"))),
    _good("L03", "promotable", cib(database(), location("l", "db-clone", "n1", "50", role="Promoted"))),
    _good("L03", "promotable by default", cib(
        clone("s-clone", primitive("s", STATEFUL, roles("s"))), location("l", "s-clone", "n1", "50", role="Promoted"),
        more=f'<rsc_defaults>{meta("d", promotable="on")}</rsc_defaults>')),
    _good("L03", "Started", cib(clone("a-clone", primitive("a")), location("l", "a-clone", "n1", "50", role="Started"))),
    # 4
    _bad("L04", "none", cib(primitive("a", ops=""))),
    _bad("L04", "interval 0", cib(primitive("a", ops=op("a", "monitor", "0")))),
    _bad("L04", "switched off", cib(primitive("a", ops=op("a", "monitor", "10s", enabled="false")))),
    _bad("L04", "in a cloned group", cib(clone("c", group("g", primitive("a"), primitive("b", ops=""))))),
    _bad("L04", "of a fence device", cib(fencing=fence("n1", ops="") + fence("n2"))),
    _good("L04", "of the template", cib(
        f'<template id="t" {DUMMY}><operations>{op("t", "monitor", "PT10S")}</operations></template><primitive id="a" template="t"/>')),
    _good("L04", "by reference", cib(
        primitive("b").replace("<operations>", '<operations id="ops">')
        + f'<primitive id="a" {DUMMY}><operations id-ref="ops"/></primitive>')),
    _good("L04", "milliseconds", cib(primitive("a", ops=op("a", "monitor", "10000ms")))),
    # 5
    _bad("L05", "no role", cib(database(ops=op("db", "monitor", "10s")))),
    _bad("L05", "promoted alone", cib(database(ops=op("db", "monitor", "10s", role="Promoted")))),
    _bad("L05", "unpromoted alone", cib(database(ops=op("db", "monitor", "10s", role="Unpromoted")))),
    _bad("L05", "one switched off", cib(database(
        ops=op("db", "monitor", "9s", role="Promoted", enabled="false") + op("db", "monitor", "10s", role="Unpromoted")))),
    _good("L05", "role and none", cib(database(ops=op("db", "monitor", "9s", role="Promoted") + op("db", "monitor", "10s")))),
    _good("L05", "Started", cib(database(
        ops=op("db", "monitor", "9s", role="Promoted") + op("db", "monitor", "10s", role="Started")))),
    _good("L05", "old words", cib(database(names=("Master", "Slave")), schema="3.6")),
    _good("L05", "not promotable", cib(clone("a-clone", primitive("a"), promotable="false"))),
    # 6
    _bad("L06", "equal", cib(database(ops=roles("db", "10s", "10s"))), False),
    _bad("L06", "other units", cib(database(ops=roles("db", "10", "10000ms"))), False),
    _bad("L06", "ISO 8601", cib(database(ops=roles("db", "10s", "PT10S"))), False),
    _bad("L06", "one switched off", cib(primitive("a", ops=op("a", "monitor", "10s") + op("a", "monitor", "10", enabled="false"))), False),
    _good("L06", "different", cib(database(ops=roles("db", "10s", "10001ms")))),
    # 7
    _bad("L07", "ignore", cib(primitive("a", stop=' on-fail="ignore"'))),
    _bad("L07", "block", cib(primitive("a", stop=' on-fail="block"'))),
    _bad("L07", "in op_defaults", cib(primitive("a"), more=f'<op_defaults>{meta("od", on_fail="ignore")}</op_defaults>')),
    _good("L07", "fence", cib(primitive("a", stop=' on-fail="fence"'))),
    _good("L07", "a monitor", cib(primitive("a", ops=op("a", "monitor", "10s", on_fail="ignore")))),
    _good("L07", "a fence device", cib(APPS, fencing=fence("n1", ops=op("f", "monitor", "60s") + op("f", "stop", "0", on_fail="ignore"))
                                       + fence("n2"))),
    _good("L07", "a cache", cib(clone("c", primitive(
        "a", 'class="systemd" type="memcached"', stop=' on-fail="ignore"')))),
    # 8: agents of ours, whose meta-data is always here
    _bad("L08", "written", cib(primitive("a", 'class="ocf" provider="hafailover" type="vip"', ops=op("a", "monitor", "10s", timeout="1s"),
                                         inside=params("a", ip="192.0.2.1")))),
    _bad("L08", "nothing said", cib(f'<primitive id="a" class="ocf" provider="hafailover" type="mariadb"><operations>'
                                    f'{op("a", "monitor", "10s")}</operations></primitive>')),
    _good("L08", "enough", cib(primitive("a", 'class="ocf" provider="hafailover" type="vip"', inside=params("a", ip="192.0.2.1")))),
    _good("L08", "in op_defaults", cib(
        f'<primitive id="a" class="ocf" provider="hafailover" type="vip">{params("a", ip="192.0.2.1")}<operations>'
        '<op id="m" name="monitor" interval="10s"/></operations></primitive>',
        more=f'<op_defaults>{meta("od", timeout="5min")}</op_defaults>')),
    _good("L08", "by a rule", cib(
        '<primitive id="a" class="ocf" provider="hafailover" type="mariadb"><operations>'
        f'{op("a", "monitor", "10s")}</operations></primitive>', more='<op_defaults><meta_attributes id="od"><rule id="odr" score="0">'
             '<op_expression id="ode" name="start"/></rule>'
             '<nvpair id="odt" name="timeout" value="1h"/></meta_attributes></op_defaults>')),
    # 9
    *[_bad("L09", f"spelled {word}", cib(APPS, stonith_enabled=word)) for word in ("false", "no", "off", "0", "False", "N")],
    _good("L09", "on", cib(APPS, stonith_enabled="Yes")),
    _good("L09", "left at the default", cib(APPS, stonith_enabled=None)),
    _good("L09", "another set, which loses", cib(
        APPS, '', '<cluster_property_set id="x" score="9"><nvpair id="x1" name="stonith-enabled" value="false"/></cluster_property_set>')),
    # 10
    _bad("L10", "ignore", cib(APPS, no_quorum_policy="ignore")),
    _good("L10", "freeze", cib(APPS, no_quorum_policy="freeze")),
    # 11
    _bad("L11", "no list", cib(APPS, fencing=fence("n1", pcmk_host_list=None) + fence("n2"))),
    _bad("L11", "on its target", cib(APPS, location("l", "fence-n1", "n1", "INFINITY"))),
    _bad("L11", "on its target by a rule", cib(
        APPS, '<rsc_location id="l" rsc="fence-n1"><rule id="lr" score="INFINITY"><expression id="le" attribute="#uname" '
        'operation="eq" value="n1"/></rule></rsc_location>')),
    _bad("L11", "nowhere else", cib(APPS, location("l", "fence-n1", "n2"))),
    _bad("L11", "a node uncovered", cib(APPS, fencing=fence("n1"))),
    _bad("L11", "one that is stopped", cib(
        APPS, fencing=fence("n1") + fence("n2").replace("<operations>", meta("f2", target_role="Stopped") + "<operations>"))),
    _bad("L11", "none", cib(APPS, fencing=""), False),
    _bad("L11", "a node that is not there", cib(APPS, fencing=fence("n1") + fence("n2", pcmk_host_list="n2,n9"))),
    _good("L11", "not on the target", cib(APPS, location("l1", "fence-n1", "n1") + location("l2", "fence-n2", "n2"))),
    _good("L11", "a map", cib(APPS, fencing=fence("n1", pcmk_host_list=None, pcmk_host_map="n1:1;n2:2,3"))),
    _good("L11", "outlets that are escaped",
          cib(APPS, fencing=fence("n1", pcmk_host_list=None, pcmk_host_map=r"n1:vm\ 1;N2=vm\:2"))),
    _bad("L11", "an outlet that Pacemaker takes apart",
         cib(APPS, fencing=fence("n1") + fence("n2", pcmk_host_list="n2", pcmk_host_map="n2:10.0.0.1:7"))),
    _good("L11", "one for all", cib(APPS, fencing=fence("n1", pcmk_host_list="n1, N2"))),
    _good("L11", "one that is asked", cib(APPS, fencing=fence("n1", pcmk_host_list=None, pcmk_host_check="dynamic-list"))),
    _good("L11", "an agent that lists", cib(
        APPS, fencing=fence("n1", pcmk_host_list=None).replace("fence_ipmilan", "fence_virsh"))),
    _good("L11", "a watchdog", cib(APPS, fencing="", stonith_watchdog_timeout="10", have_watchdog="true")),
    # 12
    _bad("L12", "two", cib(APPS, order("o1", "a", "b") + order("o2", "b", "a"))),
    _bad("L12", "three", cib(APPS, order("o1", "a", "b") + order("o2", "b", "c") + order("o3", "c", "a"))),
    _bad("L12", "against a group", cib(group("g", primitive("a"), primitive("b")), order("o1", "b", "a"))),
    _bad("L12", "through a group", cib(group("g", primitive("a"), primitive("b")) + primitive("c"),
                                       order("o1", "g", "c") + order("o2", "c", "a"))),
    _bad("L12", "of sets", cib(APPS, f'<rsc_order id="s">{refs("s1", "a b c")}</rsc_order>' + order("o", "c", "a"))),
    _bad("L12", "of the stops", cib(APPS, order("o1", "a", "b") + order("o2", "a", "b", first_action="stop", then_action="stop",
                                                                        symmetrical="false"))),
    _bad("L12", "through a clone", cib(PAIR, COLOCATED + ORDERED + order("o", "vip", "db-clone"))),
    _bad("L12", "optional", cib(APPS, order("o1", "a", "b") + order("o2", "b", "a", kind="Optional"))),
    _bad("L12", "serialized", cib(APPS, order("o1", "a", "b", kind="Serialize") + order("o2", "b", "a", kind="Serialize"))),
    _good("L12", "optional in the same direction", cib(APPS, order("o1", "a", "b") + order("o2", "a", "b", kind="Optional"))),
    _good("L12", "a diamond", cib(APPS + primitive("d"), order("o1", "a", "b") + order("o2", "a", "c") + order("o3", "b", "d")
                                  + order("o4", "c", "d"))),
    _good("L12", "one way stops", cib(PAIR, COLOCATED + ORDERED + order(
        "o", "vip", "db-clone", first_action="stop", then_action="demote", symmetrical="false"))),
    _good("L12", "along a group", cib(group("g", primitive("a"), primitive("b")), order("o1", "a", "b"))),
    _good("L12", "any is enough", cib(APPS, f'<rsc_order id="s">{refs("s1", "a b", sequential="false", require_all="false")}'
                                      f'{refs("s2", "c", sequential="false", require_all="false")}</rsc_order>')),
    # 13
    _bad("L13", "roles", cib(database(names=("Master", "Slave")))),
    _bad("L13", "in a constraint", cib(PAIR, COLOCATED.replace("Promoted", "Master") + ORDERED)),
    _bad("L13", "master", cib(database(names=("Master", "Slave")).replace("clone id", "master id").replace("</clone>", "</master>"),
                              schema="3.6")),
    _bad("L13", "master-max", cib(database(master_max="1"))),
    _bad("L13", "in a set", cib(PAIR, f'<rsc_colocation id="s" score="INFINITY">{refs("s1", "vip")}'
                                f'{refs("s2", "db-clone", role="Master")}</rsc_colocation>' + ORDERED)),
    _good("L13", "new words", cib(PAIR, COLOCATED + ORDERED)),
    _good("L13", "an old Pacemaker", cib(database(names=("Master", "Slave"), master_max="1"), schema="2.10")),
    # 14
    _bad("L14", "property", cib(APPS, no_quorum_polcy="stop")),
    _bad("L14", "meta attribute", cib(primitive("a", inside=meta("a", migration_treshold="3")))),
    _bad("L14", "underscore", cib(primitive("a", inside=meta("a").replace(
        "></meta", '><nvpair id="x" name="target_role" value="Started"/></meta')))),
    _bad("L14", "rsc_defaults", cib(APPS, more=f'<rsc_defaults>{meta("d", resource_stickyness="1")}</rsc_defaults>')),
    _bad("L14", "op_defaults", cib(APPS, more=f'<op_defaults>{meta("d", time_out="1")}</op_defaults>')),
    _bad("L14", "nobody's", cib(APPS, keep_calm="true")),
    _good("L14", "known", cib(primitive("a", inside=meta("a", migration_threshold="3", failure_timeout="60s")), maintenance_mode="false",
                              cluster_name="c", last_lrm_refresh="1", dc_version="2.1.5", priority_fencing_delay="0")),
    _good("L14", "what agents keep", cib(APPS, properties=(
        '<cluster_property_set id="mysql_replication"><nvpair id="m1" name="db_REPL_INFO" value="n1"/></cluster_property_set>'))),
    # 15
    _bad("L15", "typing error", cib(APPS, location("l", "a", "n3", "100"))),
    _bad("L15", "in a rule", cib(
        APPS, '<rsc_location id="l" rsc="a"><rule id="lr" score="INFINITY"><expression id="le" attribute="#uname" '
        'operation="eq" value="n3"/></rule></rsc_location>')),
    _good("L15", "there", cib(APPS, location("l", "a", "N1", "100"))),
    _noisy("L15", "a remote node", cib(
        APPS + primitive("far", 'class="ocf" provider="pacemaker" type="remote"', inside=params("far", server="192.0.2.9")),
        location("l", "a", "far", "100"))),
    _good("L15", "a replica", cib(
        APPS + '<bundle id="box"><podman image="i" replicas="2"/></bundle>', location("l", "a", "box-1"))),
    _good("L15", "an attribute", cib(
        APPS, '<rsc_location id="l" rsc="a"><rule id="lr" score="INFINITY"><expression id="le" attribute="site" '
        'operation="eq" value="n3"/></rule></rsc_location>')),
    # 34
    _bad("L34", "ban", cib(APPS, location("cli-ban-a-on-n1", "a", "n1"))),
    _bad("L34", "prefer", cib(APPS, location("cli-prefer-a", "a", "n1", "INFINITY"))),
    _bad("L34", "for some time", cib(
        APPS, f'<rsc_location id="cli-prefer-a" rsc="a">{DATE.replace("0", "INFINITY", 1)}</rsc_location>')),
    _good("L34", "another", cib(APPS, location("a-not-on-n1", "a", "n1"))),
]  # fmt: skip
