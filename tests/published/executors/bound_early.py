"""Takes its clock and its sleep by class attributes and default arguments."""

import dataclasses
import datetime
import signal
import sys
import time

from common import NAME, WORK_S, close, connect, register, take


@dataclasses.dataclass
class Job:
    process: object
    begun: float = dataclasses.field(default_factory=time.time)


class Worker:
    sleep = staticmethod(time.sleep)
    now = staticmethod(datetime.datetime.now)

    def work(self, client, clock=time.monotonic):
        begun, since = self.now(), clock()
        job = Job(take(client))
        if job.process is None:
            return
        self.sleep(WORK_S)
        assert time.time() - job.begun < 3600
        assert abs((self.now() - begun).total_seconds() - (clock() - since)) < 1
        close(client, job.process, [NAME])


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
client = connect()
register(client)
while True:
    Worker().work(client)
