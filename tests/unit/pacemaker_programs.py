"""crm_simulate and crm_verify on files: those of this machine, or of the lab's image."""

import os
import shutil
import subprocess

import image_tools
from hafailover.crm import generate
from hafailover.crm.formats import cib


class Pacemaker:
    """Runs Pacemaker's programs."""

    def __init__(self, directory):
        place = None
        if not all(shutil.which(program) for program in ("crm_simulate", "crm_verify")):
            place = image_tools.directory(directory)
        path = f"{place}:{os.environ['PATH']}" if place else os.environ["PATH"]
        self.environment = {**os.environ, "PATH": path}

    def __call__(self, *argv):
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=self.environment)

    def started(self, topology, directory):
        """The CIB file of the topology's cluster with all nodes up and its resources started, found right, and how it started."""
        made, running = directory / "made.xml", directory / "running.xml"
        made.write_text(cib.text(generate.configuration(topology)))
        nodes = [word for node in topology.nodes for word in ("--node-up", node)]
        # What Pacemaker finds out by itself when sbd runs.
        watchdog = ["--watchdog", "true"] if topology.sbd else []
        begun = self("crm_simulate", "-x", made, *nodes, "--quorum", "true", *watchdog, "--simulate", "-O", running)
        assert begun.returncode == 0, begun.stderr
        verified = self("crm_verify", "-V", "-x", running)
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
        return running, begun.stdout
