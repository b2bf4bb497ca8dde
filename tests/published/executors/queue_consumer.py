"""Hands processes from one thread to another by a queue."""

import queue
import signal
import threading
import time

from common import NAME, WORK_S, close, connect, register, take

work = queue.Queue(maxsize=1)
stop = threading.Event()


def consume(client):
    while True:
        try:
            process = work.get(timeout=1)
        except queue.Empty:
            if stop.is_set():
                return
            continue
        time.sleep(WORK_S)
        close(client, process, [NAME])
        work.task_done()


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    client = connect()
    register(client)
    threading.Thread(target=consume, args=(connect(),)).start()
    while not stop.is_set():
        process = take(client)
        if process is not None:
            work.put(process)
    work.join()


main()
