"""Runs a command for each process, with a time limit."""

import signal
import subprocess
import sys

from common import NAME, close, connect, register, take

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
client = connect()
register(client)
while True:
    process = take(client)
    if process is not None:
        done = subprocess.run(["echo", NAME], capture_output=True, text=True, timeout=60)
        close(client, process, [done.stdout.strip()])
