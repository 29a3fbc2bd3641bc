"""`python -m loadtest.echo BYTES`: a bare aiohttp JSON echo, what the gateway is measured against.

Each message is decoded, its answer of so many bytes encoded (msgspec both), and sent with one awaited send.
It prints the port that it listens on, and runs until SIGTERM.
"""

import asyncio
import signal
import sys

import msgspec
import uvloop
from aiohttp import WSMsgType, web


async def serve(answer_bytes: int) -> None:
    """Serve until SIGTERM."""
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    padding = "x" * max(0, answer_bytes - len('{"id":"q000000","ok":true,"padding":""}'))

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                wish = decode(message.data)
                await socket.send_str(encode({"id": wish["id"], "ok": True, "padding": padding}).decode())
        return socket

    application = web.Application()
    application.router.add_get("/ws", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
