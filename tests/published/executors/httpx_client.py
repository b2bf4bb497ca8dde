"""Is a coroutine with a client of httpx, and a task that beats once a second."""

import asyncio
import signal

import httpx
from common import ADDRESS, KEY, NAME, POLL_S, WORK_S, answered, close_by, register_by, signed, take_by


async def beat(beats):
    while True:
        await asyncio.sleep(1)
        beats.append(asyncio.get_running_loop().time())


async def main():
    stop, beats = asyncio.Event(), []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    heart = asyncio.create_task(beat(beats))
    async with httpx.AsyncClient(base_url=f"http://{ADDRESS}", timeout=POLL_S + 5) as http:

        async def ask(message, key=KEY):
            return answered((await http.post("/api", content=signed(message, key))).content)

        await register_by(ask)
        while not stop.is_set():
            process = await take_by(ask)
            if process is None:
                continue
            begun = len(beats)
            try:
                await asyncio.wait_for(stop.wait(), WORK_S)
            except TimeoutError:
                await close_by(ask, process, [NAME, len(beats) - begun])
    heart.cancel()


asyncio.run(main())
