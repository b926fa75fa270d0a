"""What crmsh and pcs themselves make of what is written for them, and how it is compared with what was written."""

import shutil
from pathlib import Path

import cluster_image
from hafailover.crm.formats import cib
from lxml import etree

_DRIVERS = {"txt": "crmsh_driver.py", "sh": "pcs_driver.py"}
# What an alert is told without a select.
_USUAL = {"select_fencing", "select_nodes", "select_resources"}


def empty(of):
    """The CIB of a new cluster with the nodes of ``of``."""
    root = cib.tree(of)
    nodes = "".join(etree.tostring(etree.Element("node", node.attrib)).decode() for node in root.iter("node"))
    return (
        f'<cib crm_feature_set="3.16.1" have-quorum="1" validate-with="{root.get("validate-with")}" epoch="1" num_updates="0" '
        f'admin_epoch="0"><configuration><crm_config/><nodes>{nodes}</nodes><resources/><constraints/></configuration><status/></cib>'
    )


def load_all(directory, ending, texts, settings=None):
    """Load every text (name → configuration, text) by the program for files that end so: (name → CIB, what it said).

    The program is started once for all of them. ``settings``: name → the settings of SBD on the machine that runs pcs.
    """
    for name, (configuration, text) in texts.items():
        (directory / f"{name}.xml").write_text(empty(configuration))
        (directory / f"{name}.{ending}").write_text(text)
    for name, content in (settings or {}).items():
        (directory / f"{name}.sbd").write_bytes(content)
    shutil.copy(Path(__file__).with_name(_DRIVERS[ending]), directory)
    files = cluster_image.quoted(*(f"./{name}.{ending}" for name in texts))
    done = cluster_image.run(directory, f"python3 {_DRIVERS[ending]} {files}", timeout=1200)
    return {name: etree.parse(str(directory / f"{name}.xml")).getroot() for name in texts}, done


def lines(root, own=lambda element: dict(element.attrib)):
    """Each element with its place; sections, sets and attributes have no order."""
    found = []
    for element in root.find("configuration").iter():
        if not isinstance(element.tag, str):
            found.append(f"note {element.text}")
            continue
        attributes = own(element)
        if attributes is not None and (element.getparent().tag != "configuration" or len(element)):
            place = [
                f"{one.tag}[{own(one).get('id', '')}]"
                for one in (element, *element.iterancestors())
                if own(one) is not None
            ]
            found.append(f"{'/'.join(reversed(place))} {sorted(attributes.items())}")
    return sorted(found)


def pcs_own(element):
    """An element without what pcs makes up or leaves out, and with what it writes out; for ``lines``."""
    attributes = dict(element.attrib)
    parent = element.getparent()
    if element.tag == "operations" and len(element) == 0:
        return None
    chosen = parent if parent is not None and parent.tag == "select" else element
    if chosen.tag == "select" and {one.tag for one in chosen} == _USUAL:
        return None
    in_properties = parent is not None and parent.get("id") == "cib-bootstrap-options"
    if element.tag in ("expression", "resource_set", "fencing-level", "acl_permission") or in_properties:
        attributes.pop("id", None)
    if element.tag == "rule" and (attributes.get("boolean-op") == "and" or len(element) == 1):
        attributes.pop("boolean-op", None)
    if element.tag == "rsc_colocation":
        attributes = {key: value for key, value in attributes.items() if not key.endswith("role") or value != "Started"}
    return attributes
