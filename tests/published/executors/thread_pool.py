"""Works on several processes at a time, in a pool of threads."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from common import NAME, WORK_S, close, connect, register, take

stopping = threading.Event()


def work(client):
    while not stopping.is_set():
        process = take(client)
        if process is not None:
            time.sleep(WORK_S)
            close(client, process, [NAME])


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    client = connect()
    register(client)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for future in [pool.submit(work, connect()) for _ in range(2)]:
            future.result()


main()
