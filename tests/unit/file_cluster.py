"""A cluster in a file: Pacemaker's real programs work on its CIB, and what the scheduler would do is done at once.

Only what speaks to daemons is a stand-in: the attribute daemon, the node's own name, Corosync.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from corosync_cmap import nodelist
from hafailover.crm import applied, generate, local, simulate_state, yamldoc
from hafailover.crm import topology as topologies
from hafailover.crm.formats import cib
from hafailover.crm.local import Result
from lxml import etree


@cache
def _made(text: str) -> bytes:
    """The CIB of a cluster to which the topology in ``text`` was applied, with everything running."""
    topology = topologies.parse(yamldoc.parse(text, "t.yml"))
    root = cib.tree(generate.configuration(topology))
    root.set("crm_feature_set", "3.16.1")
    section = root.find("configuration/crm_config")
    section.append(applied.element(applied.of(root.find("configuration"))))
    etree.SubElement(section[0], "nvpair", id="name", name="cluster-name", value=topology.name)
    root = simulate_state.running(root).cib
    root.set("dc-uuid", "1")
    return etree.tostring(root)


class FileCluster:
    """The cluster of ``topology``, everything running, in the directory ``place``; ``attributes``: node → what it has published."""

    def __init__(self, place: Path, topology) -> None:
        self.file = place / "live.xml"
        self.file.write_bytes(_made(topology.text))
        self.calls: list[str] = []
        self.attributes: dict[str, str] = {}
        self.node = next(iter(topology.nodes))
        self.quorate, self.before_patch = True, None
        self.cmap = "nodelist.local_node_pos (u32) = 0\n" + nodelist(
            *(
                {"name": one.name, "nodeid": one.id, **{f"ring{n}_addr": link for n, link in enumerate(one.links)}}
                for one in topology.nodes.values()
            )
        )

    @property
    def root(self):
        return cib.parse(self.file.read_bytes(), "the live cluster")

    def configuration(self) -> bytes:
        """The configuration without its version and status."""
        return etree.tostring(self.root.find("configuration"), method="c14n")

    def change(self, edit) -> None:
        """Somebody else changes the configuration: ``edit`` gets the element cib."""
        root = self.root
        edit(root)
        root.set("epoch", str(int(root.get("epoch")) + 1))
        root.set("num_updates", "0")
        self.file.write_bytes(etree.tostring(root))

    def value(self, resource: str, name: str) -> str | None:
        """A parameter of a resource."""
        pair = self.root.find(f".//primitive[@id='{resource}']/instance_attributes/nvpair[@name='{name}']")
        return None if pair is None else pair.get("value")

    def run(self, argv, timeout=None, input=None) -> Result:
        """In the place of local.run."""
        name = " ".join(argv[:2]) if argv[0] == "cibadmin" else argv[0]
        self.calls.append(name)
        if argv[0] == "attrd_updater":
            return self._attribute(argv)
        if argv[0] == "crm_node":
            return Result(0, f"{self.node}\n", "")
        if argv[0] == "corosync-cmapctl":
            return Result(0, self.cmap, "")
        if name == "cibadmin --patch" and self.before_patch is not None:
            hook, self.before_patch = self.before_patch, None
            hook()
        done = subprocess.run(
            list(argv), input=input, capture_output=True, text=True, env={**os.environ, "CIB_file": str(self.file)}
        )
        if name == "cibadmin --patch" and done.returncode == 0:
            self._act()
        out = done.stdout
        if argv[0] == "crm_mon" and not self.quorate:
            out = out.replace('with_quorum="true"', 'with_quorum="false"')
        return Result(done.returncode, out, done.stderr)

    def _attribute(self, argv) -> Result:
        name = argv[argv.index("-n") + 1]
        if "-U" in argv:
            self.attributes[self.node] = argv[argv.index("-U") + 1]
        elif "-D" in argv:
            self.attributes.pop(self.node, None)
        elif name == "hafailover-changing" and self.attributes:
            return Result(0, "".join(f'name="{name}" host="{n}" value="{v}"\n' for n, v in self.attributes.items()), "")
        else:
            return Result(78, "", "attribute does not exist")
        return Result(0, "", "")

    def _act(self) -> None:
        for _ in range(4):
            argv = ["crm_simulate", "--xml-file", str(self.file), "--simulate", "--save-output", f"{self.file}.new"]
            done = subprocess.run([*argv, "--output-as=xml"], capture_output=True, check=True)
            Path(f"{self.file}.new").replace(self.file)
            if etree.fromstring(done.stdout).find("transition/rsc_action") is None:
                return


def install(monkeypatch, place: Path, topology) -> FileCluster:
    """The cluster, in the place of what would ask a live one."""
    made = FileCluster(place, topology)
    monkeypatch.setattr(local, "run", made.run)
    return made
