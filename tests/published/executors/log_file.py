"""Writes a log file."""

import logging
import os
import signal
import sys
import time

from common import NAME, WORK_S, close, connect, register, take

logger = logging.getLogger(NAME)
handler = logging.FileHandler(os.environ.get("LOG_FILE", os.devnull))
handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
logger.addHandler(handler)
logger.setLevel(logging.INFO)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    client = connect()
    register(client)
    logger.info("registered")
    try:
        while True:
            process = take(client)
            if process is not None:
                logger.info("works on %s", process.processid)
                time.sleep(WORK_S)
                close(client, process, [NAME])
    finally:
        logger.removeHandler(handler)
        handler.close()


main()
