"""Loads the crmsh texts that are its arguments, each into its file: ``crm configure load update``, with one start of Python for all.

Runs in the image, by Debian's Python, where crmsh is.
"""

import os
import sys

from crmsh import log

log.setup_logging()

from crmsh import main  # noqa: E402  (as crm itself: it takes the loggers that are there)


def load(text):
    os.environ["CIB_file"] = text[: -len("txt")] + "xml"  # noqa: SIM112  (so Pacemaker calls it)
    sys.argv = ["crm", "-F", "configure", "load", "update", text]
    return main.run()


stopped = False
for text in sys.argv[1:]:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = load(text)
        except SystemExit as error:
            code = error.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    if os.waitpid(pid, 0)[1]:
        stopped = True
        sys.stderr.write(f"{text}: crm stopped\n")
sys.exit(stopped)
