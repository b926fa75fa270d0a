"""Values and names that want to be something else: what is written runs nothing, and becomes nothing but what it was."""

import random
import shlex
import subprocess
from pathlib import Path

import pytest
from hafailover.crm.formats import cib, crmsh, pcs
from hypothesis import given, settings
from hypothesis import strategies as st
from loaded import lines, load_all, pcs_own

SAYABLE = Path(__file__).parent / "data" / "cibs" / "sayable.xml"
WORDS = (
    *(
        "$(touch harm)",
        "`touch harm`",
        "'; touch harm; '",
        '"; touch harm; "',
        "a\ntouch harm\n",
        "a\\\ntouch harm",
        "a & touch harm",
    ),
    *(
        "#",
        "# a",
        "a #b",
        "-f",
        "--force",
        "--",
        "-",
        "=",
        "a=b",
        "id=x",
        "%",
        "resource%x",
        "$cib",
        "${1}",
        "$id=x",
        "$id-ref=x",
        "@x",
    ),
    *(
        "\\",
        "a\\",
        '\\"',
        "\\\\",
        "'",
        '"',
        "''",
        '""',
        " ",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "&amp;",
        "&#10;",
        "<x/>",
        "-->",
        "]]>",
    ),
    *(
        "op",
        "meta",
        "params",
        "xml",
        "with",
        "rule",
        ":",
        "a:",
        "inf:",
        "(a)",
        "and",
        "||",
        ">x",
        "*",
        "~",
        "!x",
        "{a,b}",
        "é",
        "\u2028",
    ),
)
HOSTILE = st.sampled_from(WORDS) | st.text(
    st.sampled_from(list("aB1 '\"\\$`#=&|;<>(){}[]*?!~-:@%,.^/\n\té")), min_size=1, max_size=8
)
# Many at once, because every program takes a while to start.
MANY = st.lists(HOSTILE, min_size=40, max_size=80)
# (element, attribute) that name something; a reference among them then names nothing.
NAMES = {
    "primitive": ("id", "type"),
    "node": ("uname",),
    "obj_ref": ("id",),
    "role": ("id",),
    "resource_ref": ("id",),
    "fencing-level": ("target", "target-value", "devices"),
    "rsc_location": ("id", "rsc", "node", "rsc-pattern"),
    "rsc_colocation": ("id", "rsc", "with-rsc"),
    "rsc_order": ("id", "first", "then"),
    "rsc_ticket": ("id", "rsc", "ticket"),
    "tag": ("id",),
    "alert": ("id", "path"),
    "op": ("name", "interval"),
    "expression": ("attribute",),
}


def tree():
    return cib.tree(cib.load(str(SAYABLE)).configuration)


def with_values(values):
    """A CIB with ``values`` wherever any value is one."""
    root = tree()
    places = [(one, "value") for one in root.iter("nvpair", "recipient")]
    places += [(one, "value") for one in root.iter("expression") if one.get("value") and one.get("type") is None]
    places += [(one, "description") for one in root.iter("acl_role", "alert", "recipient")]
    for number, (one, key) in enumerate(places):
        one.set(key, values[number % len(values)])
    return cib.read(root)


def with_names(names):
    """A CIB with ``names`` for whatever has a name."""
    root = tree()
    places = [(one, key) for one in root.iter(*NAMES) for key in NAMES[one.tag] if one.get(key)]
    for number, (one, key) in enumerate(places):
        one.set(key, names[number % len(names)])
    return cib.read(root)


@pytest.mark.parametrize("hostile", [with_values, with_names])
@given(MANY)
@settings(max_examples=20, deadline=None)
def test_a_shell_takes_each_for_one_word_and_runs_nothing(hostile, values):
    """Real sh, for which pcs is a function that tells its arguments, and which finds no other program."""
    text = pcs.write(hostile(values)).text
    told = 'pcs() { printf \'%s\\0\' "$#" "$@"; }\n'
    done = subprocess.run(
        ["/bin/sh", "-s", "$cib"], input=(told + text).encode(), capture_output=True, env={"PATH": "/nonexistent"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    commands = [shlex.split(line)[1:] for line in text.split("\n") if line.startswith("pcs ")]
    assert len(commands) >= 5
    wanted = [word for words in commands for word in (str(len(words)), *words)]
    assert done.stdout.decode().split("\0")[:-1] == wanted


@pytest.mark.parametrize("hostile", [with_values, with_names])
@given(MANY)
@settings(max_examples=20, deadline=None)
def test_crmsh_is_given_as_many_lines_as_there_are_elements(hostile, values):
    """Every line begins as those do that are written without anything hostile."""
    ascii_only = ["".join(filter(str.isascii, value)) or "x" for value in values]
    known = {line.split()[0] for line in crmsh.text(cib.read(tree())).splitlines() if not line.startswith(" ")}
    for line in crmsh.write(hostile(ascii_only)).text.replace(" \\\n  ", " ").split("\n")[:-1]:
        assert line.isprintable()
        assert line.split()[0] in known | {"xml"}, line


def loaded(directory, ending, write, kinds, own, taken):
    """Load texts with the hostile words in several places each: what becomes of them is in the CIB, nothing else."""
    texts = {}
    for number in range(kinds):
        words = [taken(word) for word in WORDS]
        random.Random(number).shuffle(words)
        made = with_values(words)
        texts[f"v{number}"] = (made, write(made).text)
    roots, done = load_all(directory, ending, texts)
    for name, (made, _) in texts.items():
        have, want = set(lines(roots[name], own)), set(lines(cib.tree(made), own))
        assert not have - want, done.stderr
        # pcs ends at a value that it does not believe; crmsh takes them all.
        assert ending == "sh" or have == want or write(made).unsaid, done.stderr
    assert not (directory / "harm").exists()
    return done


def test_crmsh_itself_makes_nothing_else_of_values(tmp_path):
    done = loaded(
        tmp_path, "txt", crmsh.write, 6, lambda one: dict(one.attrib), lambda word: word if word.isascii() else "x"
    )
    assert done.returncode == 0, done.stderr


def test_pcs_itself_makes_nothing_else_of_values(tmp_path):
    loaded(tmp_path, "sh", pcs.write, 2, pcs_own, lambda word: word)
