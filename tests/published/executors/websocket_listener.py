"""Learns of new processes from a websocket subscription, and requests them with blocking calls in threads."""

import asyncio
import signal
import urllib.error
import urllib.request

import websockets
from common import ADDRESS, COLONY, KEY, NAME, POLL_S, WORK_S, answered, close_by, register_by, signed, take_by

SUBSCRIPTION = {
    "msgtype": "subscribeprocessesmsg",
    "colonyname": COLONY,
    "executortype": "published",
    "state": 0,
    "timeout": 60,
}


def post(message, key):
    request = urllib.request.Request(f"http://{ADDRESS}/api", signed(message, key).encode())
    try:
        with urllib.request.urlopen(request, timeout=POLL_S + 5) as reply:
            return answered(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return answered(refused.read())


async def ask(message, key=KEY):
    return await asyncio.to_thread(post, message, key)


async def take_all():
    while (process := await take_by(ask, 1)) is not None:
        await asyncio.sleep(WORK_S)
        await close_by(ask, process, [NAME])


async def listen():
    while True:
        try:
            async with websockets.connect(f"ws://{ADDRESS}/pubsub") as socket:
                await socket.send(signed(SUBSCRIPTION))
                while True:
                    await take_all()
                    try:
                        await asyncio.wait_for(socket.recv(), POLL_S)
                    except TimeoutError:
                        continue
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(1)


async def main():
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await register_by(ask)
    listener = asyncio.create_task(listen())
    await stop.wait()
    listener.cancel()


asyncio.run(main())
