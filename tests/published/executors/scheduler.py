"""Polls by a scheduler of the standard library."""

import sched
import signal
import sys
import time

from common import NAME, WORK_S, close, connect, register, take

scheduler = sched.scheduler()
client = connect()


def poll():
    process = take(client)
    if process is not None:
        time.sleep(WORK_S)
        close(client, process, [NAME])
    scheduler.enter(0.1, 1, poll)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
register(client)
scheduler.enter(0, 1, poll)
scheduler.run()
