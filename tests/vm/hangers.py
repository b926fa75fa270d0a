"""Use a mount in one of the ways in which a process hangs when the server is gone. Usage: hangers.py CALL DIRECTORY."""

import os
import sys
import time

call, directory = sys.argv[1:]
if call == "close":
    # The descriptor is taken away before what was written is flushed.
    while True:
        with open(f"{directory}/closing", "wb") as file:
            file.write(b"x" * (1 << 20))
if call == "fsync":
    with open(f"{directory}/synced", "ab") as file:
        while True:
            file.write(b"line\n" * 1000)
            file.flush()
            os.fsync(file.fileno())
while call == "list":
    os.stat(f"{directory}/file")
    os.listdir(directory)
    time.sleep(0.05)
while call == "create":
    os.close(os.open(f"{directory}/new", os.O_CREAT | os.O_WRONLY))
    os.unlink(f"{directory}/new")
