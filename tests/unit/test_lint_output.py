"""What lint reads, prints and leaves out: sources by their content, text, JSON, SARIF, GitHub's annotations, ignores, exit codes."""

from __future__ import annotations

import bz2
import io
import json
import re
import sys

import jsonschema
import pytest
from hafailover.crm import generate, lint, topology
from hafailover.crm.commands.docs import command as docs
from hafailover.crm.commands.lint import command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib as cib_format
from hafailover.crm.formats import xml_input
from hafailover.crm.lint import ERROR, Facts, Found, page, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_cases import APPS, PAIR, cib, location, primitive
from sarif_schema import SARIF
from test_lint_rules import findings, report
from topologies import BASE, EXAMPLES, changed, invoke

BAD = cib(PAIR + primitive("web", ops=""), location("cli-ban-web-on-n1", "web", "n1")).replace(
    "<primitive", "\n<primitive"
)
HOSTILE = "x\x1b[2Jy\u202e\n::error::z"


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "it.xml"
    made.write_text(BAD)
    return made


def run(file, *arguments):
    done = invoke(command, file, *arguments)
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done


def refused(*arguments):
    done = invoke(command, *arguments)
    assert isinstance(done.exception, UsageError)
    return str(done.exception)


# -- what is right is clean ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_and_what_is_made_of_them_have_nothing(path):
    wanted = topology.load(path)
    found = lint.examine(sources.of_topology(wanted))
    mine = {f"L{number:02}" for number in (*range(1, 16), 34)}
    assert found.broken == () and [one for one in found.findings if one.code in mine] == []
    written = cib_format.text(generate.configuration(wanted))
    # A CIB does not say that it is a lab's.
    left = [(one.code, one.where) for one in findings(written)]
    assert left == (
        [("L09", "stonith-enabled")] if wanted.lab and 'name="stonith-enabled" value="false"' in written else []
    )


# -- sources -----------------------------------------------------------------------------------------------------------------------------


def test_a_source_is_recognised_by_what_is_in_it(tmp_path, monkeypatch):
    packed, plain, text = tmp_path / "a", tmp_path / "b.yml", tmp_path / "c.xml"
    packed.write_bytes(bz2.compress(BAD.encode()))
    plain.write_text("\ufeff\n" + BAD)
    text.write_text(BASE)
    assert [sources.read(str(one), None, None).kind for one in (packed, plain, text)] == ["cib", "cib", "topology"]
    for content, kind in ((BAD, "cib"), (BASE, "topology")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        found = sources.read("-", None, None)
        assert (found.kind, found.name, found.file) == (kind, "standard input", "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<a/>", "is not a CIB"),
        (b"<cib>", "is not well-formed XML"),
        (b"BZh91AY&SY", "in the middle of its bzip2 data"),
        (b"BZh9 no", "damaged bzip2 data"),
        (b"primitive a Dummy\n", "looks like crmsh's text"),
        (b"totem {\n}\n", "looks like a corosync.conf"),
        (b"\x00\xff\xfe", "UTF-8"),
        (b"- a\n", "a topology is a mapping"),
        (b'<!DOCTYPE cib [<!ENTITY a "b">]><cib><configuration/></cib>', "document type"),
        (b"x: &a [" + b"*a," * 9 + b"]\n", "is"),
    ],
)
def test_what_is_no_source_is_refused_in_a_sentence(tmp_path, content, said):
    (tmp_path / "f").write_bytes(content)
    assert re.search(said, refused(tmp_path / "f"))


def test_a_packed_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_input, "MAX_BYTES", 1024 * 1024)
    (tmp_path / "f").write_bytes(bz2.compress(b"<" + b" " * (xml_input.MAX_BYTES + 10)))
    assert "larger than" in refused(tmp_path / "f")


def test_wrong_usage_is_refused(tmp_path, file):
    assert "cannot be read" in refused(tmp_path / "nothing")
    assert "is a directory" in refused(tmp_path)
    assert "leave the file out" in refused(file, "--live")
    assert "text or json" in refused("--rules", "-o", "sarif")
    (tmp_path / "t.yml").write_text(BASE)
    assert "--corosync goes with a CIB" in refused(tmp_path / "t.yml", "--corosync", tmp_path / "c")
    assert "cannot be read" in refused(file, "--corosync", tmp_path / "c")


def test_a_corosync_conf_goes_with_a_cib(tmp_path, file):
    conf = tmp_path / "corosync.conf"
    conf.write_text("totem {\n  version: 2\n}\n")
    assert sources.read(str(file), None, None).facts.corosync is None
    assert sources.read(str(file), None, str(conf)).facts.corosync.text("totem.version") == "2"


def test_the_running_cluster(monkeypatch, tmp_path):
    from hafailover.crm import apply, corosync_conf, local
    from hafailover.crm.errors import HafailoverError

    monkeypatch.setattr(apply, "live_cib", lambda: cib_format.parse(BAD, "the live cluster"))
    monkeypatch.setattr(corosync_conf, "read", lambda: corosync_conf.parse("totem {\n}\n"))
    monkeypatch.setattr(local, "hostname", lambda: "elsewhere")
    done = invoke(command, "--live", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["kind"], found["source"]) == (1, "live", "the running cluster")
    assert found["findings"][0]["file"] is None and found["findings"][0]["where"] == "web"
    facts = sources.live(None).facts
    assert facts.live and facts.corosync is not None and facts.node is None
    monkeypatch.setattr(corosync_conf, "read", lambda: (_ for _ in ()).throw(UsageError("corosync.conf: gone")))
    assert sources.live(None).facts.missing["corosync"] == "corosync.conf: gone"
    assert "unknown node 'n9'" in refused("--live", "--node", "n9")

    def none():
        raise HafailoverError("the cluster is not running on this node")

    monkeypatch.setattr(apply, "live_cib", none)
    assert "not running" in refused("--live")


def test_a_topology_brings_what_is_made_of_it(tmp_path):
    (tmp_path / "t.yml").write_text(BASE)
    made = sources.read(str(tmp_path / "t.yml"), "", None)
    assert "db-clone" in made.facts.resolved.resources
    assert made.facts.corosync.text("totem.cluster_name") == "c1"
    lines = BASE.splitlines()
    for where, key in [("services.db", "db:"), ("db-clone", "db:"), ("vips.vip.ip", "ip:"), ("nodes.db2.links[1]", "10.77.1.12"),
                       ("vip", "vip:"), ("quorum.device.host", "host:"), ("corosync.conf:7", "quorum:")]:  # fmt: skip
        place = made.locate(where)
        assert lines[place.line - 1][place.column - 1 :].startswith(key), where


# -- forms -------------------------------------------------------------------------------------------------------------------------------


def test_text_is_grouped_and_counted(file):
    done = run(file)
    assert done.exit_code == 1
    assert re.search(
        rf"^3 ERRORS:\n\n  L01 address-unbound|^1 ERROR:\n\n  L04 no-monitor: web  \({file}:\d+\)\n", done.stdout
    )
    assert "\n1 WARNING:\n\n  L34 move-left-behind: cli-ban-web-on-n1" in done.stdout
    assert "        | crm configure monitor web 10s:30s\n" in done.stdout
    assert "not looked at: " in done.stdout
    assert done.stdout.endswith(f"1 error, 1 warning in {file}\n")


def test_json_says_everything(file):
    found = json.loads(run(file, "-o", "json", "--ignore", "L34=is over soon").stdout)
    assert (found["kind"], found["counts"], found["node"]) == ("cib", {"error": 1, "warning": 0, "note": 0}, None)
    ((finding),) = found["findings"]
    assert finding["code"] == "L04" and finding["file"] == str(file)
    assert BAD.splitlines()[finding["line"] - 1].startswith('<primitive id="web"')
    ((ignored),) = found["ignored"]
    assert (ignored["code"], ignored["reason"]) == ("L34", "is over soon")
    assert {one["code"] for one in found["not_looked"]} >= {"L42", "L46"}
    assert "no-monitor" in found["rules"] and "port-shared" not in found["rules"]


def test_sarif_is_valid(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.yml").write_text(changed(("{type: mariadb}", "{type: mariadb, options: {extra_port: 3310}}")))
    for source in (file, "a b.yml"):
        log = json.loads(run(source, "--format", "sarif", "--ignore", "L34=is over").stdout)
        jsonschema.validate(log, SARIF)
        (one,) = log["runs"]
        rules = one["tool"]["driver"]["rules"]
        assert len({rule["id"] for rule in rules}) == len(rules) == len(lint.known())
        assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in one["results"])
        assert one["invocations"][0]["toolExecutionNotifications"]
    (result,) = [one for one in one["results"] if one["ruleId"] == "L43"]
    physical = result["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "a%20b.yml"}, "region": {"startLine": 11, "startColumn": 33}}
    log = json.loads(run(file, "--format", "sarif", "--ignore", "L34=is over").stdout)
    suppressed = [one for one in log["runs"][0]["results"] if "suppressions" in one]
    assert [one["ruleId"] for one in suppressed] == ["L34"]


def test_the_schema_above_can_fail():
    for wrong in ({"version": "2.0.0", "runs": []}, {"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SARIF)


def test_githubs_annotations_are_one_in_a_line(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = run("it.xml", "--format", "github").stdout.splitlines()
    begun = [line for line in lines if line.startswith("::")]
    assert re.match(r"::error file=it\.xml,line=\d+,title=L04 no-monitor::web: has no monitor", begun[0])
    assert "%0Acrm configure monitor web" in begun[0]
    assert begun[1].startswith("::warning file=it.xml,line=")
    assert all(line.startswith(("::error ", "::warning ", "hafailover: ")) for line in lines)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_a_hostile_cib_moves_no_cursor_and_gives_no_commands(tmp_path, form):
    name = "x&#27;[2J&#8238;&#10;::error::z$(reboot)`id`'; rm -rf /"
    resource = primitive("web", ops="").replace('id="web"', f'id="{name}"').replace("&#27;", "\x9b")
    file = tmp_path / "a,b:c%.xml"
    file.write_text(
        cib(resource, location("cli-ban-x", name.replace("&#27;", "\x9b"), "n1"), keep_calm="x"), encoding="utf-8"
    )
    done = run(file, "--format", form)
    assert done.exit_code == 1
    out = done.stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert "$(reboot)" in out
    for line in out.splitlines():
        assert not line.startswith("::error::")
        if form == "text" and line.lstrip().startswith("| "):
            assert "'\"'\"'" in line or "$(reboot)" not in line, "a name is quoted"
    if form in ("json", "sarif"):
        json.loads(out)
    if form == "github":
        assert (
            "file=a%2Cb%3Ac%25.xml," in out
            or f"file={str(file).replace(',', '%2C').replace(':', '%3A')}".replace("%.x", "%25.x") in out
        )


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_finding_leaves_its_line(where, said):
    from hafailover.crm.lint import Finding, Report, output

    source = sources.Source("cib", "c", "c.xml", Facts(), lambda _: sources.Place("c.xml", 3, 0), {})
    one = Finding("no-monitor", ERROR, where, said, "do", "L04", "why", f"x {where}")
    answer = output.Answer(source, Report((one,)), [one], (), (), lint.known())
    for line in output.github(answer).split("\n"):
        assert line.startswith(("::error file=c.xml,line=3,title=L04 no-monitor::", "hafailover: "))
    assert all(character.isprintable() or character == "\n" for character in output.text(answer))
    (result,) = json.loads(output.sarif(answer))["runs"][0]["results"]
    jsonschema.validate(result, {**SARIF["definitions"]["result"], "definitions": SARIF["definitions"]})


# -- ignores -----------------------------------------------------------------------------------------------------------------------------


def test_what_is_ignored_needs_a_reason_and_a_name_that_is_known(file, tmp_path):
    assert "L34 is ignored without a reason" in refused(file, "--ignore", "L34")
    assert "L34 is ignored without a reason" in refused(file, "--ignore", "L34= ")
    assert "did you mean 'no-monitor'?" in refused(file, "--ignore", "no-monitr=x")
    assert "--rules lists them" in refused(file, "--ignore", "=x")
    (tmp_path / "i").write_text("- L34\n")
    assert "write one rule in a line" in refused(file, "--ignore-file", tmp_path / "i")
    (tmp_path / "i").write_text("L34:\n")
    assert "without a reason" in refused(file, "--ignore-file", tmp_path / "i")
    assert "cannot be read" in refused(file, "--ignore-file", tmp_path / "nothing")


def test_an_ignore_holds_for_a_rule_or_a_place(file, tmp_path):
    done = run(file, "--ignore", "l04=a reason", "--fail-on", "error")
    assert done.exit_code == 0
    assert "ignored: L04 no-monitor: web: a reason (--ignore)" in " ".join(done.stdout.split())
    assert run(file, "--ignore", "no-monitor@web=x").exit_code == 0
    elsewhere = run(file, "--ignore", "no-monitor@other=x")
    assert elsewhere.exit_code == 1
    assert "ignores nothing any more: no-monitor@other (--ignore)" in " ".join(elsewhere.stdout.split())
    (tmp_path / "i").write_text("L04: is replaced in June\nL34: is over soon\n")
    assert "nothing found, 2 ignored in" in run(file, "--ignore-file", tmp_path / "i", "--fail-on", "note").stdout


def test_a_rule_that_did_not_look_ignores_nothing_in_silence(file):
    assert "any more" not in run(file, "--ignore", "L42=x").stdout


def test_a_topology_says_what_is_left_alone_in_it(tmp_path):
    file = tmp_path / "t.yml"
    text = changed(("{type: mariadb}", "{type: mariadb, options: {extra_port: 3310}}"))
    file.write_text(text + "lint: {ignore: {L43: the port is for backups}}\n")
    done = run(file, "--fail-on", "warning")
    assert done.exit_code == 0
    assert "the port is for backups" in " ".join(done.stdout.split())
    file.write_text(text + "lint: {ignore: {L43: }}\n")
    assert "lint.ignore.L43" in refused(file)
    file.write_text(text + "lint: {ignore: {L99: x}}\n")
    assert "unknown rule 'L99'" in refused(file)


# -- the frame ---------------------------------------------------------------------------------------------------------------------------


def test_the_threshold(file):
    text = cib(APPS, location("cli-ban-a", "a", "n1"))
    file.write_text(text)
    assert [run(file, "--fail-on", one).exit_code for one in ("error", "warning", "note")] == [0, 1, 1]
    file.write_text(cib(APPS, keep_calm="true"))
    assert [run(file, "--fail-on", one).exit_code for one in ("error", "warning", "note")] == [0, 0, 1]


def test_a_rule_that_breaks_down_hides_nothing_and_is_no_success(file, monkeypatch):
    from dataclasses import replace

    def broken(_facts):
        raise KeyError("x")
        yield Found("", "")

    rules = [replace(one, check=broken) if one.code == "L09" else one for one in lint.known()]
    monkeypatch.setattr(lint, "known", lambda: tuple(rules))
    done = run(file)
    assert done.exit_code == 2
    assert "L04 no-monitor" in done.stdout
    assert "rule L09 fencing-off broke down, which is our fault: KeyError: 'x'" in done.stdout
    assert json.loads(run(file, "-o", "sarif").stdout)["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_meta_data_that_is_not_here_is_not_guessed():
    found = report(cib(primitive("a", 'class="ocf" provider="nobody" type="Nothing"')))
    assert [why for rule, why in found.not_looked if rule.code == "L08"] == [
        "the meta-data of ocf:nobody:Nothing is not on this machine"
    ]


def test_agents_are_asked_only_below_their_directory(tmp_path):
    from hafailover.crm import agent_metadata

    place = tmp_path / "resource.d" / "x"
    place.mkdir(parents=True)
    agent = place / "y"
    agent.write_text(
        '#!/bin/sh\n[ "$1" = meta-data ] || exit 1\n'
        'echo \'<resource-agent><actions><action name="start" timeout="90"/><action name="monitor" role="Master" timeout="5s"/>'
        '<action name="monitor" timeout="7s"/><action name="odd" timeout="x"/></actions></resource-agent>\'\n'
    )
    assert agent_metadata.actions("ocf:x:y", tmp_path) is None, "it cannot be run"
    agent.chmod(0o755)
    agent_metadata.actions.cache_clear()
    known = agent_metadata.actions("ocf:x:y", tmp_path)
    assert agent_metadata.shortest(known, "start", "") == 90_000
    assert [agent_metadata.shortest(known, "monitor", role) for role in ("Promoted", "", "Unpromoted")] == [
        5000,
        7000,
        7000,
    ]
    assert agent_metadata.shortest(known, "stop", "") is None
    (tmp_path / "z").write_text(agent.read_text())
    (tmp_path / "z").chmod(0o755)
    for name in ("ocf:x:../../z", "ocf:..:z", "ocf::y", "ocf:x:", "systemd:y", "y", "ocf:.:y", "ocf:x/..:y"):
        assert agent_metadata.actions(name, tmp_path) is None, name


def test_the_names_that_an_installed_pacemaker_knows_are_added(tmp_path):
    from hafailover.crm import pacemaker_options

    daemon = tmp_path / "pacemaker-controld"
    daemon.write_text(
        "#!/bin/sh\necho '<resource-agent><parameters><parameter name=\"brand-new\"/></parameters></resource-agent>'\n"
    )
    daemon.chmod(0o755)
    (tmp_path / "pacemaker-based").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "pacemaker-based").chmod(0o755)
    assert pacemaker_options.properties((str(tmp_path),)) == pacemaker_options.PROPERTIES | {"brand-new"}


def test_the_page_is_what_the_rules_say(tmp_path):
    from pathlib import Path

    file = Path(__file__).parents[2] / "docs" / "lint.md"
    text = file.read_text()
    assert page.page(text) == text, "run: bin/hafailover docs docs/agents --rules docs/lint.md"
    for one in lint.known():
        assert f"### {one.code} {one.id}\n\n{one.summary}\n" in text
    stale = tmp_path / "lint.md"
    stale.write_text(text.replace("### L04 no-monitor", "### L04 old-name"))
    assert "not current" in str(invoke(docs, tmp_path, "--check", "--rules", stale).exception)
    assert invoke(docs, tmp_path, "--rules", stale).exit_code == 0
    assert stale.read_text() == text
