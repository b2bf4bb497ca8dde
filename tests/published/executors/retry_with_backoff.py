"""Tries again after ever longer pauses, with jitter."""

import random
import signal
import sys
import time

from common import COLONY, KEY, NAME, POLL_S, WORK_S, connect, register


def retried(call, *args, attempts=5, base_s=0.1):
    for attempt in range(attempts):
        try:
            return call(*args)
        except Exception:
            if attempt == attempts - 1:
                return None
            time.sleep(base_s * 2**attempt + random.uniform(0, base_s))
    return None


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
client = connect()
register(client)
while True:
    process = retried(client.assign, COLONY, POLL_S, KEY, attempts=1)
    if process is None:
        time.sleep(random.random() * 0.1)
        continue
    time.sleep(WORK_S)
    retried(client.close, process.processid, [NAME], KEY)
