"""Has a thread that beats once a second until it is told to stop."""

import signal
import threading
import time

from common import NAME, WORK_S, close, connect, register, take

stop = threading.Event()
beats = []


def heartbeat():
    while not stop.wait(1):
        beats.append(time.time())


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    client = connect()
    register(client)
    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    while not stop.is_set():
        process = take(client)
        if process is not None and not stop.wait(WORK_S):
            close(client, process, [NAME, len(beats)])
    thread.join(timeout=5)


if __name__ == "__main__":
    main()
