"""Has two workers in a group of tasks, which share a session of aiohttp."""

import asyncio
import signal

import aiohttp
from common import ADDRESS, KEY, NAME, POLL_S, WORK_S, answered, close_by, register_by, signed, take_by


async def work(ask, stop):
    while not stop.is_set():
        process = await take_by(ask)
        if process is not None:
            await asyncio.sleep(WORK_S)
            await close_by(ask, process, [NAME])


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POLL_S + 5)) as session:

        async def ask(message, key=KEY):
            async with session.post(f"http://{ADDRESS}/api", data=signed(message, key)) as reply:
                return answered(await reply.read())

        await register_by(ask)
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(work(ask, stop))


asyncio.run(main())
