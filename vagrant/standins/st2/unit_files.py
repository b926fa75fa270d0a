"""The files that installing StackStorm's packages would bring to a node. Test equipment."""

from __future__ import annotations

from hafailover.crm.files import RenderedFile

PLAIN = (
    "st2api", "st2auth", "st2stream", "st2scheduler", "st2workflowengine", "st2rulesengine", "st2notifier",
    "st2timersengine", "st2garbagecollector", "st2sensorcontainer", "st2chatops",
)  # fmt: skip
WORKERS = 2

_UNITS = "/lib/systemd/system"
_BOOTSTRAP = (
    "import importlib, sys; m = sys.modules['hafailover'] = type(sys)('hafailover'); m.__path__ = [sys.argv[1]]; "
    "importlib.import_module('hafailover.vagrant.standins.st2.service').main(sys.argv[2:])"
)
# As in StackStorm's packages: what they do on their own (restart a dead service, kill after 60 s) is part of the test.
_UNIT = """[Unit]
Description=StackStorm service {name} (stand-in, test equipment)
After=network.target

[Service]
Type=simple
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/local/lib/st2-standin {name}
TimeoutSec=60
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
_WRAPPER = """[Unit]
Description=StackStorm action runners (stand-in, test equipment)
After=network.target

[Service]
Type=oneshot
EnvironmentFile=-/etc/default/st2actionrunner
ExecStart=/bin/sh -c 'for i in $(seq $WORKERS); do systemctl start st2actionrunner@$i; done'
ExecStop=/bin/sh -c 'for i in $(seq $WORKERS); do systemctl stop st2actionrunner@$i; done'
RemainAfterExit=true

[Install]
WantedBy=multi-user.target
"""
_ST2_CONF = """# As a package would install it; the cluster's topology changes what it has to.
[api]
host = 0.0.0.0

[auth]
host = 0.0.0.0

[stream]
host = 0.0.0.0

[messaging]
url = amqp://guest:guest@127.0.0.1:5672/

[timersengine]
enable = True

[coordination]
url = redis://127.0.0.1
service_registry = True
"""


def files(package: str, database: str) -> list[RenderedFile]:
    """What installing StackStorm's packages would bring, on a node that sees hafailover's modules at ``package``.

    ``database`` is the address of MariaDB.
    """
    program = f"#!/usr/bin/python3\nimport sys\nsys.argv[1:1] = [{package!r}]\n{_BOOTSTRAP.replace('; ', chr(10))}\n"
    found = [RenderedFile(f"{_UNITS}/{name}.service", _UNIT.format(name=name).encode()) for name in PLAIN]
    return [
        *found,
        RenderedFile(f"{_UNITS}/st2actionrunner@.service", _UNIT.format(name="st2actionrunner").encode()),
        RenderedFile(f"{_UNITS}/st2actionrunner.service", _WRAPPER.encode()),
        RenderedFile("/usr/local/lib/st2-standin", program.encode(), 0o755),
        RenderedFile("/etc/default/st2actionrunner", f"WORKERS={WORKERS}\n".encode()),
        RenderedFile("/etc/st2/st2.conf", _ST2_CONF.encode(), 0o640),
        RenderedFile("/etc/st2/standin.conf", f"[database]\nhost = {database}\n".encode()),
        RenderedFile("/opt/stackstorm/packs/README", b"Packs lie here.\n"),
        RenderedFile("/opt/stackstorm/virtualenvs/README", b"Virtual environments of packs lie here.\n"),
    ]
