"""Has a process of its own compute each answer."""

import multiprocessing
import signal
import sys

from common import NAME, close, connect, register, take


def compute(answers, name):
    answers.put(name)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = multiprocessing.get_context("fork")
    client = connect()
    register(client)
    while True:
        process = take(client)
        if process is None:
            continue
        answers = context.SimpleQueue()
        child = context.Process(target=compute, args=(answers, NAME))
        child.start()
        answer = answers.get()
        child.join(timeout=30)
        close(client, process, [answer, child.exitcode])


if __name__ == "__main__":
    main()
