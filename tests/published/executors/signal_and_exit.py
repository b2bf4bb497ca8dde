"""Leaves by os._exit in its signal handler."""

import os
import signal
import time

from common import NAME, WORK_S, close, connect, register, take, unregister

client = connect()


def leave(signum, frame):
    unregister(client)
    os._exit(0)


signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, leave)
register(client)
while True:
    process = take(client)
    if process is not None:
        time.sleep(WORK_S)
        close(client, process, [NAME])
