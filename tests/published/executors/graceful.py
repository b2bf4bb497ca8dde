"""Finishes its process when it is told to end, and then removes itself."""

import signal
import time

from common import NAME, WORK_S, close, connect, register, take, unregister

running = True


def stop(signum, frame):
    global running
    running = False


def main():
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    client = connect()
    register(client)
    while running:
        process = take(client)
        if process is not None:
            time.sleep(WORK_S)
            close(client, process, [NAME])
    unregister(client)


if __name__ == "__main__":
    main()
