"""Where the program begins."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the program and run it. Loading takes long enough for a Ctrl-C, which then ends it without a traceback."""
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # nohup and & have it ignored
    if asked:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hafailover.crm import cli

    if asked:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()
