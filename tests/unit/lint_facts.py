"""Facts for lint's rules in a few words: a CIB from elements, a corosync.conf from its settings, files of a node in a directory."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from hafailover.crm import corosync, corosync_conf, generate, lint
from hafailover.crm.formats import cib
from hafailover.crm.lint import Facts
from hafailover.crm.lint.node import NodeFacts
from hafailover.crm.lint.node_files import NodeFiles
from hafailover.crm.resolved import Resolved


def nvpairs(tag, id, values):
    inner = "".join(
        f'<nvpair id="{id}-{index}" name={quoteattr(name)} value={quoteattr(value)}/>'
        for index, (name, value) in enumerate(values.items())
    )
    return f'<{tag} id="{id}">{inner}</{tag}>' if values else ""


def primitive(id, agent, meta=None, **params):
    kind = agent.split(":")
    named = {2: ("class", "type"), 3: ("class", "provider", "type")}[len(kind)]
    about = " ".join(f'{name}="{value}"' for name, value in zip(named, kind))
    return (
        f'<primitive id="{id}" {about}>{nvpairs("meta_attributes", f"{id}-m", meta or {})}'
        f"{nvpairs('instance_attributes', f'{id}-p', params)}</primitive>"
    )


def clone(id, inside, **meta):
    return f'<clone id="{id}">{nvpairs("meta_attributes", f"{id}-m", meta)}{inside}</clone>'


def group(id, *members):
    return f'<group id="{id}">{"".join(members)}</group>'


def colocated(rsc, other, score="INFINITY", **more):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<rsc_colocation id="{rsc}-with-{other}" rsc="{rsc}" with-rsc="{other}" score="{score}"{extra}/>'


def ordered(first, then, **more):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<rsc_order id="{then}-after-{first}" first="{first}" then="{then}"{extra}/>'


def configuration(*elements, properties=None, defaults=None, nodes=("a", "b")):
    """A CIB; constraints are told from resources by their tags."""
    constraints = [one for one in elements if one.startswith("<rsc_")]
    resources = [one for one in elements if not one.startswith("<rsc_")]
    listed = "".join(f'<node id="{number}" uname="{name}"/>' for number, name in enumerate(nodes, 1))
    wanted = {"stonith-enabled": "true", **(properties or {})}
    return (
        '<cib validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0"><configuration>'
        f"<crm_config>{nvpairs('cluster_property_set', 'o', wanted)}</crm_config><nodes>{listed}</nodes>"
        f"<resources>{''.join(resources)}</resources><constraints>{''.join(constraints)}</constraints>"
        f"<rsc_defaults>{nvpairs('meta_attributes', 'r', defaults or {})}</rsc_defaults></configuration><status/></cib>"
    )


def conf(quorum="two_node: 1", nodes=("a", "b"), links=2, device=""):
    """A corosync.conf; ``links`` is how many each node has, or a list of one number for each."""
    counts = [links] * len(nodes) if isinstance(links, int) else links
    listed = ""
    for number, (name, count) in enumerate(zip(nodes, counts), 1):
        rings = "".join(f"ring{ring}_addr: 10.0.{ring}.{number}\n" for ring in range(count))
        listed += f"node {{\nname: {name}\nnodeid: {number}\n{rings}}}\n"
    inside = f"device {{\n{device}\n}}\n" if device else ""
    text = f"totem {{\nversion: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\nprovider: corosync_votequorum\n{quorum}\n{inside}}}\n"
    return corosync_conf.parse(text, "corosync.conf")


NET = "model: net\nvotes: {votes}\nnet {{\nhost: {host}\nalgorithm: {algorithm}\n}}"


def device(votes="1", host="q", algorithm="ffsplit"):
    return NET.format(votes=votes, host=host, algorithm=algorithm)


def facts(*elements, corosync=None, node=None, accounts=(), **more):
    """What rules look at: a CIB of these elements, and, with the directory ``node``, the files of node a."""
    made = cib.read(cib.parse(configuration(*elements, **more), "test"))
    here = None
    if node is not None:
        table = node / "mountinfo"
        here = NodeFacts("a", None, "", (), {"10.0.0.1": "eth0"}, None, NodeFiles(node, str(table)), tuple(accounts))
    return Facts(None, here, made, Resolved(made), corosync)


def of_topology(wanted):
    """What rules look at in a topology."""
    made = generate.configuration(wanted)
    return Facts(wanted, None, made, Resolved(made), corosync_conf.parse(corosync.text(wanted), "corosync.conf"))


def found(code, what):
    """What the rule of this code finds: (where, text, fix)."""
    (rule,) = (one for one in lint.known() if one.code == code)
    lacking = [need for need in rule.needs if getattr(what, need) is None]
    assert not lacking, f"{code} needs {lacking}"
    return [(one.where, one.text, one.fix) for one in rule.check(what) if isinstance(one, lint.Found)]


def places(code, what):
    return [where for where, _, _ in found(code, what)]


def write(root, **files):
    """Write files below ``root``: etc__exports="…" is /etc/exports, a mapping takes any names."""
    for name, text in files.items():
        put(root, "/" + name.replace("__", "/"), text)


def put(root, path, text):
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


DB = clone("db-clone", primitive("db", "ocf:heartbeat:mysql"), promotable="true")
MQ = clone("mq-clone", primitive("mq", "ocf:heartbeat:rabbitmq-cluster"))
TOMCAT = clone("app-clone", primitive("app", "ocf:hafailover:tomcat", unit="tomcat10.service"))
