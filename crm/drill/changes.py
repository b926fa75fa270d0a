"""What differs between two states of the cluster's configuration, apart from what may."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm.pacemaker_options import WRITTEN_BY_PACEMAKER
from lxml import etree

# Changed by Pacemaker itself with every write, election or probe.
_COUNTERS = frozenset(
    (
        *("epoch", "num_updates", "admin_epoch", "cib-last-written", "update-origin", "update-client", "update-user"),
        *("have-quorum", "dc-uuid", "execution-date"),
    )
)
_SETS = frozenset(("cluster_property_set", "instance_attributes"))
# Where the agents keep state of their own; the last is that of ocf:heartbeat:mysql and mariadb.
_OWN_PREFIXES = ("hafailover-", "mysql_replication")
_PARSER = etree.XMLParser(remove_blank_text=True, remove_comments=True, resolve_entities=False, no_network=True)


def configuration_changes(before: str, after: str) -> list[str]:
    """Compare two CIBs as XML text; return one line per difference, sorted; empty if nothing is left behind.

    Not compared: the status section, version counters, cluster options that Pacemaker writes itself (each clean-up sets
    last-lrm-refresh), and attributes and attribute sets of our own agents (their names
    or ids begin with "hafailover-"), and those in which the stock database agents keep theirs.
    """
    old, new = dict(_facts(before)), dict(_facts(after))
    changes = [f"{path} is new ({new[path]})" for path in new.keys() - old.keys()]
    changes += [f"{path} is gone ({old[path]})" for path in old.keys() - new.keys()]
    changes += [
        f"{path} changed from {old[path]} to {new[path]}" for path in old.keys() & new.keys() if old[path] != new[path]
    ]
    return sorted(changes)


def _facts(cib: str) -> Iterator[tuple[str, str]]:
    root = etree.fromstring(cib.encode(), _PARSER)
    for status in root.findall("status"):
        root.remove(status)
    yield from _walk(root, "")


def _walk(element: etree._Element, above: str) -> Iterator[tuple[str, str]]:
    if _is_own(element):
        return
    attributes = {str(name): str(value) for name, value in element.attrib.items() if name not in _COUNTERS}
    path = f"{above}/{element.tag!s}" + (f"[{attributes['id']}]" if "id" in attributes else "")
    yield path, " ".join(f'{name}="{value}"' for name, value in sorted(attributes.items())) or "present"
    for child in element:
        yield from _walk(child, path)


def _is_own(element: etree._Element) -> bool:
    """Only attributes can be ours: a constraint that is left behind is one, whatever it is called."""
    if element.tag in _SETS:
        named_so = (element.get("id") or "").startswith(_OWN_PREFIXES)
        # An empty one says nothing: the end of a standby leaves one.
        return named_so or all(_is_own(child) for child in element)
    if element.tag != "nvpair":
        return False
    name = element.get("name") or ""
    return name in WRITTEN_BY_PACEMAKER or name.startswith(_OWN_PREFIXES)
