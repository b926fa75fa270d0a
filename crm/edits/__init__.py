"""Editors for configuration files that people and packages write, too.

Each takes the whole content and returns it changed; everything not named stays byte for byte. What an editor changes
it marks with comments (crm/edits/marks.py) that hold what stood there before. Every edit first takes the marked
changes back and then makes the wanted ones, so that it can be repeated, and so that what is no longer wanted goes and
what it had replaced returns, without a record elsewhere.
"""

from __future__ import annotations

from hafailover.crm.edits.blocks import block
from hafailover.crm.edits.directives import directives_off
from hafailover.crm.edits.flags import flags_set
from hafailover.crm.edits.hosts import hosts_set
from hafailover.crm.edits.ini import ini_set
from hafailover.crm.edits.marks import is_marked
from hafailover.crm.edits.mask import masked
from hafailover.crm.edits.server_xml import server_xml_set
from hafailover.crm.edits.yamlfile import yaml_data, yaml_set

__all__ = [
    "block",
    "directives_off",
    "flags_set",
    "hosts_set",
    "ini_set",
    "is_marked",
    "masked",
    "server_xml_set",
    "yaml_data",
    "yaml_set",
]
