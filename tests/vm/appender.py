"""Append numbered lines to a file on a mount, each one synced, holding a lock all the time; say on a local file what was acknowledged.

Usage: appender.py FILE REPORT. The report has a line "N SECONDS" for each acknowledged line (seconds of the monotonic clock), or, at
the end of it, "failed" and the error.
"""

import fcntl
import os
import sys
import time

with open(sys.argv[1], "a", buffering=1) as out, open(sys.argv[2], "w", buffering=1) as report:
    try:
        fcntl.lockf(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        number = 0
        while True:
            number += 1
            out.write(f"{number}\n")
            os.fsync(out.fileno())
            report.write(f"{number} {time.monotonic():.2f}\n")
            time.sleep(0.2)
    except OSError as error:
        report.write(f"failed {error}\n")
