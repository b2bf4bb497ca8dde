"""Is a coroutine that calls the blocking client in threads."""

import asyncio
import signal

from common import NAME, WORK_S, close, connect, register, take


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = connect()
    await asyncio.to_thread(register, client)
    while not stop.is_set():
        process = await asyncio.to_thread(take, client)
        if process is None:
            continue
        try:
            await asyncio.wait_for(stop.wait(), WORK_S)
        except TimeoutError:
            await asyncio.to_thread(close, client, process, [NAME])


asyncio.run(main())
