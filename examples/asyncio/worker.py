"""An asyncio executor without an SDK: COLONIES_PRVKEY=... python worker.py"""

import asyncio
import base64
import hashlib
import json
import os

import coincurve
import httpx


class Refused(Exception):
    """The server said no."""


class Server:
    """A Colonies server, asked under one private key."""

    def __init__(self, http, url, key):
        self.http, self.url, self.key = http, url, coincurve.PrivateKey(bytes.fromhex(key))

    async def ask(self, kind, **fields):
        """Return the reply to a message. Raises Refused, and httpx.TransportError if the connection is lost."""
        payload = base64.b64encode(json.dumps({"msgtype": kind, **fields}).encode()).decode()
        digest = hashlib.sha3_256(payload.encode()).digest()
        signature = self.key.sign_recoverable(digest, hasher=None).hex()
        envelope = {"payloadtype": kind, "payload": payload, "signature": signature}
        reply = await self.http.post(self.url, json=envelope)
        body = json.loads(base64.b64decode(reply.json()["payload"]))
        if reply.status_code != 200:
            raise Refused(body["message"])
        return body


async def main(at_once=3):
    """Work on up to `at_once` processes at the same time, for ever."""
    host, port = os.environ["COLONIES_SERVER_HOST"], os.environ["COLONIES_SERVER_PORT"]
    free = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(timeout=90) as http, asyncio.TaskGroup() as tasks:
        server = Server(http, f"http://{host}:{port}/api", os.environ["COLONIES_PRVKEY"])
        while True:
            await free.acquire()
            process = await assigned(server)
            tasks.create_task(work(server, process)).add_done_callback(lambda _: free.release())


async def assigned(server):
    """Return the next process, however long it takes."""
    while True:
        try:
            return await server.ask("assignprocessmsg", colonyname=os.environ["COLONIES_COLONY_NAME"], timeout=60)
        except (Refused, httpx.TransportError):  # nothing has come, or the connection was lost
            await asyncio.sleep(1)


async def work(server, process):
    """Sleep as long as the process says, and close it."""
    (seconds,) = process["spec"]["args"]
    await asyncio.sleep(seconds)
    try:
        await server.ask("closesuccessfulmsg", processid=process["processid"], out=[f"slept {seconds} s"])
    except (Refused, httpx.TransportError) as error:
        print("the result could not be delivered:", error)


if __name__ == "__main__":
    asyncio.run(main())
