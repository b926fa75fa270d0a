"""What lint gives to paste: a placeholder stops the shell, ids are harmless, and what it says helps and does not interrupt."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import lint_cases
import lint_silent
import pytest
from hafailover.crm import corosync_conf, lint
from hafailover.crm.formats import cib
from hafailover.crm.lint import Facts, paste, rules
from hafailover.crm.resolved import Resolved
from lint_facts import clone, colocated, conf, device, facts, found, ordered, primitive

DUMMY = 'class="ocf" provider="heartbeat" type="Dummy"'
_SHELL = re.compile(r"(crm|cibadmin|cibsecret|crm_\w+|systemctl|sed|openssl|rabbitmqctl|hafailover|nft|#) ?")
_PLACE = re.compile(
    r"(?<![<A-Z_-])(NODE|VALUE|INTERFACE|DIRECTORY|NAME|(ANOTHER|THIRD|THE|NUMBER|ADDRESS(ES)?)-[A-Z-]+)(?![A-Z_])"
)


def cib_facts(text, corosync=None):
    made = cib.read(cib.parse(text, "test"))
    return Facts(None, None, made, Resolved(made), corosync)


def every_fix():
    texts = [case.cib for case in lint_cases.CASES] + [
        one for case in lint_silent.CASES for one in (case.bad, case.good)
    ]
    looked = [cib_facts(text, conf()) for text in texts]
    looked += [
        facts(corosync=one) for one in (conf(links=1), conf(links=[2, 1]), conf("", device=device(host="b")), conf(""))
    ]
    looked.append(
        facts(primitive("f", "stonith:fence_ipmilan"), properties={"stonith-watchdog-timeout": "10"}, corosync=conf())
    )
    looked.append(facts(primitive("f", "stonith:fence_ipmilan")))
    return [(one.code, one.fix) for what in looked for one in lint.examine(what).findings if one.fix]


def parses(text):
    return subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


def test_a_shell_refuses_every_fix_in_which_something_has_to_be_put():
    fixes = dict.fromkeys(every_fix())
    shell = [(code, fix) for code, fix in fixes if _SHELL.match(fix)]
    with_place = [(code, fix) for code, fix in shell if re.search(r"<[A-Z-]+>", fix)]
    assert {"L11", "L16", "L19"} <= {code for code, _ in with_place}
    assert [one for one in with_place if parses(one[1])] == []
    assert [one for one in shell if one not in with_place and not parses(one[1])] == []
    assert [fix for _, fix in fixes if _PLACE.search(fix)] == []


def test_no_rule_has_a_placeholder_that_a_shell_takes_for_a_word():
    wrong = []
    for file in Path(rules.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        marked = {id(arg) for node in ast.walk(tree) if isinstance(node, ast.Call) for arg in node.args
                  if getattr(node.func, "id", "") == "Placeholder"}  # fmt: skip
        told = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in ("remedy", "why")
                for inner in ast.walk(node)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in marked | told:
                wrong += [(file.name, node.value)] if _PLACE.search(node.value) else []
    assert wrong == []


@pytest.mark.parametrize("id", ["--force", "x\nrm -rf /srv #", "a b", "$(x)"])
def test_an_id_that_is_none_gets_no_command(id):
    text = lint_cases.cib(lint_cases.primitive("app", ops="")).replace('id="app"', f'id="{id}"'.replace("\n", "&#10;"))
    named = [one for one in lint.examine(cib_facts(text)).findings if one.code == "L04"]
    assert [(one.where, one.fix) for one in named] == [(id, "")]


def test_a_line_with_a_character_that_ends_it_is_no_command():
    assert paste.command("crm", "x\ny") == ""
    assert paste.commands("one", "") == ""
    assert paste.together(("delete", "a\nb")) == ""


def test_a_quorum_device_is_not_given_beside_two_node():
    ((_, _, fix),) = found("L20", facts(properties={"stonith-watchdog-timeout": "10"}, corosync=conf()))
    assert "two_node: 0" in fix
    assert found("L17", facts(corosync=corosync_conf.parse(f"quorum {{\ntwo_node: 1\n}}\n{fix}", "c"))) == []


def test_an_address_that_only_prefers_its_primary():
    db = clone("db-clone", primitive("db", "ocf:x:mariadb"), promotable="true")
    vip = primitive("vip", "ocf:heartbeat:IPaddr2", ip="10.0.0.9")
    order = ordered("db-clone", "vip", first_action="promote", then_action="start")
    soft = colocated("vip", "db-clone", score="100", with_rsc_role="Promoted")
    ((where, text, fix),) = found("L01", facts(db, vip, soft, order))
    assert (where, "score 100" in text) == ("vip", True)
    assert fix == """cibadmin --modify --xml-text '<rsc_colocation id="vip-with-db-clone" score="INFINITY"/>'"""
    firm = soft.replace('score="100"', 'score="INFINITY"')
    assert found("L01", facts(db, vip, firm, order)) == []
    assert found("L01", facts(db, vip, firm, soft.replace('id="', 'id="more-'), order)) == []


# -- what was missed -------------------------------------------------------------------------------------------------------------

DRBD = clone("drbd-clone", primitive("drbd", "ocf:linbit:drbd"), promotable="true")
FS = primitive("fs", "ocf:heartbeat:Filesystem", device="/dev/drbd0", directory="/srv")
WITH = colocated("fs", "drbd-clone", with_rsc_role="Promoted")


def test_a_mount_waits_for_the_promotion_and_not_for_the_start():
    ((where, text, fix),) = found("L24", facts(DRBD, FS, WITH, ordered("drbd-clone", "fs")))
    assert (where, "is promoted, and waits only until it is started" in text) == ("fs-with-drbd-clone", True)
    assert 'first-action="promote" then-action="start"' in fix
    assert (
        found("L24", facts(DRBD, FS, WITH, ordered("drbd-clone", "fs", first_action="promote", then_action="start")))
        == []
    )


def test_an_address_of_a_cloud_is_an_address():
    moved = primitive("vip", "ocf:heartbeat:aws-vpc-move-ip", ip="10.0.0.9")
    db = clone("db-clone", primitive("db", "ocf:heartbeat:mysql"), promotable="true")
    assert found("L24", facts(db, moved, colocated("vip", "db-clone"))) == []
    assert [where for where, _, _ in found("L02", facts(db, moved, colocated("vip", "db-clone")))] == [
        "vip-with-db-clone"
    ]
    beside = primitive("ip", "ocf:heartbeat:IPaddr2", ip="10.0.0.9")
    assert found("L16", facts(moved, beside)) == []


def one(ops, code="L04"):
    return [
        (text, fix) for _, text, fix in found(code, cib_facts(lint_cases.cib(lint_cases.primitive("app", ops=ops))))
    ]


def test_a_monitor_of_what_is_stopped_is_none():
    ((text, fix),) = one(lint_cases.op("app", "monitor", "10s", role="Stopped"))
    assert "role=Stopped alone" in text
    assert fix == "crm configure monitor app 11s:30s"


def test_a_monitor_that_is_off_is_switched_on():
    ((_, fix),) = one(lint_cases.op("app", "monitor", "10s", enabled="false"))
    assert fix == """cibadmin --modify --xml-text '<op id="app-monitor-10s" enabled="true"/>'"""


def test_three_equal_intervals_become_three():
    same = "".join(
        f'<op id="m{number}" name="monitor" interval="{said}"/>' for number, said in enumerate(("10s", "10", "10000ms"))
    )
    assert [re.findall(r'interval="(\w+)"', fix) for _, fix in one(same, "L06")] == [["9s"], ["11s"]]


def test_a_stop_that_a_rule_of_the_defaults_ignores():
    def text(name):
        defaults = (
            '<op_defaults><meta_attributes id="od"><rule id="r" score="INFINITY"><op_expression id="e" name="{}"/></rule>'
            '<nvpair id="p" name="on-fail" value="ignore"/></meta_attributes></op_defaults>'
        )
        return lint_cases.cib(lint_cases.primitive("app"), more=defaults.format(name))

    ((where, said, fix),) = found("L07", cib_facts(text("stop")))
    assert (where, "rule in od" in said) == ("op_defaults on-fail", True)
    assert 'id="p" value="fence"' in fix
    assert found("L07", cib_facts(text("monitor"))) == []


# -- fencing ---------------------------------------------------------------------------------------------------------------------


def fenced(*devices, more="", constraints="", **given):
    text = lint_cases.cib(lint_cases.primitive("app"), constraints, fencing="".join(devices), more=more, **given)
    return found("L11", cib_facts(text))


def level(**more):
    said = " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<fencing-topology><fencing-level id="l" index="1" devices="fence-n1" {said}/></fencing-topology>'


def test_levels_cover_the_nodes_that_they_name_and_no_others():
    ((where, _, fix),) = fenced(lint_cases.fence("n1"), more=level(target="n1"))
    assert (where, "stonith:<AGENT>" in fix) == ("n2", True)
    assert fenced(lint_cases.fence("n1"), more=level(target="n2")) == []
    assert fenced(lint_cases.fence("n1"), more=level(target_pattern="n.*")) == []


def test_a_device_that_may_run_nowhere_fences_nobody():
    away = '<rsc_location id="{0}-away" rsc="fence-n1" node="{0}" score="-INFINITY"/>'
    both = away.format("n1") + away.format("n2")
    ((where, _, fix),) = fenced(lint_cases.FENCED, constraints=both)
    assert (where, fix) == ("fence-n1", "crm configure delete n1-away n2-away")
    assert fenced(lint_cases.FENCED, constraints=away.format("n1")) == []


def test_a_watchdog_that_is_not_there_fences_nobody():
    places = [where for where, _, _ in fenced(stonith_watchdog_timeout="10s", have_watchdog="false")]
    assert places == ["stonith-watchdog-timeout", "stonith-enabled"]
    assert fenced(stonith_watchdog_timeout="10s", have_watchdog="true") == []


def test_a_map_of_hosts_may_be_written_with_equal_signs():
    pairs = [lint_cases.fence(name, pcmk_host_list=None, pcmk_host_map=f"{name}=1") for name in ("n1", "n2")]
    assert fenced(*pairs) == []


def test_two_equal_delays_become_different():
    both = [primitive(f"f{node}", "stonith:fence_x", pcmk_host_list=node, pcmk_delay_base="5s") for node in "ab"]
    ((_, _, fix),) = found("L21", facts(*both, corosync=conf()))
    assert fix == "crm resource param fa set pcmk_delay_base 10s"
    for_all = [
        primitive(f"f{number}", "stonith:fence_x", pcmk_host_list="a b", pcmk_delay_base="5s") for number in "12"
    ]
    ((_, _, fix),) = found("L21", facts(*for_all, corosync=conf()))
    assert fix == "crm resource param f1 set pcmk_delay_max 10s"


def test_a_colocation_is_replaced_at_once():
    db = clone("db-clone", primitive("db", "ocf:heartbeat:mysql"), promotable="true")
    vip = primitive("vip", "ocf:heartbeat:IPaddr2", ip="10.0.0.9")
    ((_, _, fix),) = found("L02", facts(db, vip, colocated("vip", "db-clone")))
    assert fix.splitlines() == [
        "crm configure <<'END'",
        "delete vip-with-db-clone",
        "colocation vip-with-db-clone-role inf: vip db-clone:Promoted",
        "commit",
        "END",
    ]


def test_old_words_are_mended_in_place():
    text = lint_cases.cib(lint_cases.database(names=("Master", "Slave")), schema="3.7")
    fixes = [fix for _, _, fix in found("L13", cib_facts(text))]
    assert fixes
    assert all('role="Promoted"' in fix or 'role="Unpromoted"' in fix for fix in fixes)


# Where nothing can be pasted: a device or node that only a person can name, a name that no Pacemaker knows, queues that hold messages,
# a machine whose rules cannot be read.
NOTHING_TO_PASTE = {"L11": 1, "L14": 1, "L26": 1, "L47": 1}


def calls_of_found():
    """Code of each rule → the calls of Found in it and in the functions of its module that it uses."""
    made = {}
    for path in Path(rules.__path__[0]).glob("*.py"):
        functions = {one.name: one for one in ast.parse(path.read_text()).body if isinstance(one, ast.FunctionDef)}
        for name, function in functions.items():
            declared = [one for one in function.decorator_list if isinstance(one, ast.Call)]
            codes = [key.value.value for one in declared for key in one.keywords if key.arg == "code"]
            used, todo, calls = set(), [name] if codes else [], []
            while todo:
                now = todo.pop()
                if now not in used:
                    used.add(now)
                    parts = list(ast.walk(functions[now]))
                    calls += [
                        one for one in parts if isinstance(one, ast.Call) and getattr(one.func, "id", "") == "Found"
                    ]
                    todo += [one.id for one in parts if isinstance(one, ast.Name) and one.id in functions]
            made.update(dict.fromkeys(codes, calls))
    return made


def given(call, place, name):
    """Whether a call has an argument, and not an empty text."""
    part = next((one.value for one in call.keywords if one.arg == name), None)
    part = call.args[place] if len(call.args) > place else part
    return part is not None and not (isinstance(part, ast.Constant) and not part.value)


def test_every_rule_says_where_what_and_what_to_paste():
    made = calls_of_found()
    assert set(made) == {one.code for one in lint.known()}
    for code, calls in made.items():
        assert calls and all(given(one, 0, "where") and given(one, 1, "text") for one in calls), code
    assert {
        code: bare for code, calls in made.items() if (bare := sum(not given(one, 2, "fix") for one in calls))
    } == NOTHING_TO_PASTE


def test_every_rule_says_how_bad_it_is_why_and_what_to_do():
    for one in lint.known():
        assert re.fullmatch(r"L\d\d[a-z]?", one.code) and one.severity in lint.SEVERITIES, one.code
        assert one.summary.endswith(".") and len(one.remedy) > 20, one.code
        # What happens to who leaves it: a clause, not a word.
        assert len(one.why.split()) >= 8, (one.code, one.why)


def test_fencing_is_not_switched_on_without_a_device():
    """Pacemaker would start nothing any more."""
    off = {"stonith-enabled": "false"}
    ((_, _, fix),) = found("L09", facts(primitive("a", "ocf:heartbeat:Dummy"), properties=off))
    assert "fence-a stonith:<AGENT>" in fix and "fence-b stonith:<AGENT>" in fix
    assert fix.endswith(" && crm configure property stonith-enabled=true") and "\n" not in fix and not parses(fix)
    ((_, _, fix),) = found("L09", facts(primitive("f", "stonith:fence_lab"), properties=off))
    assert fix == "crm configure property stonith-enabled=true"
    (alone,) = (
        fix
        for where, _, fix in found("L11", facts(primitive("a", "ocf:heartbeat:Dummy")))
        if where == "stonith-enabled"
    )
    assert alone.count("crm configure primitive fence-") == 2 and not parses(alone)
    many = facts(primitive("a", "ocf:heartbeat:Dummy"), properties=off, nodes=tuple("abcdef"))
    assert [one for _, _, one in found("L09", many)] == [""]


def test_where_a_topology_is_it_can_be_rendered_from():
    assert paste.render("/etc/a b.yml") == "hafailover render '/etc/a b.yml' --install"
    for unknown in ("standard input", "-x.yml", ""):
        assert paste.render(unknown) == "hafailover render <TOPOLOGY> --install"
