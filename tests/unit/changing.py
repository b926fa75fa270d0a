"""What the tests of plan, apply and undo do, and the topologies that they change to."""

import json

from hafailover.crm.commands import apply as apply_command
from hafailover.crm.commands import plan as plan_command
from hafailover.crm.commands import undo as undo_command
from topologies import changed, invoke

MOVED = changed(("10.77.0.100/24", "10.77.0.101/24"))
PRIMARY = changed(("{type: mariadb}", "{type: mariadb, datadir: /srv/db}"))


def the_plan(file, text):
    result = invoke(plan_command.command, file(text), "-o", "json")
    return result.exit_code, json.loads(result.stdout)


def applied(file, text, *options):
    result = invoke(apply_command.command, file(text), "--wait=3", *options)
    assert result.exception is None, result.exception
    return result


def undone(*arguments):
    return invoke(undo_command.command, "--wait=3", *arguments)


def content(root):
    """What a configuration says; the order of resources that stand alone, which says nothing, left out."""

    def of(element):
        children = [of(child) for child in element]
        return (
            element.tag,
            tuple(sorted(element.attrib.items())),
            tuple(children if element.tag == "group" else sorted(children)),
        )

    return of(root.find("configuration"))
