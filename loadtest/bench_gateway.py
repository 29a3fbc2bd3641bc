"""JSON orders through one gateway worker, durably acknowledged, beside a bare aiohttp JSON echo.

Both are driven by the same client in turns: the same number of sessions, each with a window of so many
messages on the way, the same bytes per message in either direction. A figure of orders per second shares two
cores with the client, the engine and settlement; so the ratio is of CPU seconds of the server process per
message, from /proc: echo's / gateway's, the median of the rounds (each round's pair ran in the same minute).
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any, Final

import aiohttp
import msgspec

from engine.location import Location
from gateway.session import signed_logon
from loadtest.crowd import PRODUCTS, Seat, furnish, operator_seed
from loadtest.exchange import ROOT, ExchangeError, OwnExchange, empty

SESSIONS: Final = 32
WINDOW: Final = 16
ORDERS: Final = 40_000  # of a round
WARM_UP: Final = 4_000
ROUNDS: Final = 5
INSTRUMENTS: Final = ("RB20-12-SG", "RB25-12-SG", "RB16-9-SG", "RB22-12-LG")
BELOW_TICKS: Final = 40  # orders spread over so many levels below the reference, where nothing is offered
FEN: Final = 100
SETTINGS: Final = {"LECONG_SANDBOX": "0"}
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What one server did with a round of messages."""

    messages: int
    seconds: float
    cpu_seconds: float
    answer_bytes: int

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the server process per message."""
        return self.cpu_seconds / self.messages * 1e6


def measure(data: Path, port: int, rounds: int = ROUNDS, orders: int = ORDERS) -> dict[str, Any]:
    """Gateway and echo taking turns: ratio and figures; or ratio None and the reason."""
    location = Location(data.absolute())
    empty(location)
    exchange = OwnExchange(location, port, SETTINGS)
    exchange.start()
    try:
        return asyncio.run(_measure(exchange, rounds, orders))
    except ExchangeError as error:
        return {"ratio": None, "reason": str(error)}
    finally:
        exchange.stop()
        empty(location)


async def _measure(exchange: OwnExchange, rounds: int, orders: int) -> dict[str, Any]:
    await exchange.started()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        seats = await furnish(
            exchange.url, operator_seed(exchange.location.keys), http, "bench", SESSIONS, lambda number: ()
        )
        gateway = [await _logged_on(http, exchange.url, seat) for seat in seats]
        warm = await _drive(gateway, order_frames(WARM_UP, "w"), exchange.pids()["gateway"])
        echo_process, url = _start_echo(warm.answer_bytes)
        stack.callback(_end, echo_process)
        echo = [await http.ws_connect(url, compress=0, decode_text=False) for _ in range(SESSIONS)]
        await _drive(echo, order_frames(WARM_UP, "w"), echo_process.pid)
        pairs: list[tuple[Round, Round]] = []
        for number in range(rounds):
            frames = order_frames(orders, f"{number}-")
            ours = await _drive(gateway, frames, exchange.pids()["gateway"])
            pairs.append((ours, await _drive(echo, frames, echo_process.pid)))
        for socket in (*gateway, *echo):
            await socket.close()
    return _figures(pairs)


def _figures(pairs: Sequence[tuple[Round, Round]]) -> dict[str, Any]:
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ratios = [echo.cpu_us / gateway.cpu_us for gateway, echo in pairs]

    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 2)

    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_round": [round(ratio, 3) for ratio in ratios],
        "gateway_orders_per_second": median([each.messages / each.seconds for each in ours]),
        "echo_messages_per_second": median([each.messages / each.seconds for each in theirs]),
        "gateway_cpu_us_per_order": median([each.cpu_us for each in ours]),
        "echo_cpu_us_per_message": median([each.cpu_us for each in theirs]),
        "answer_bytes": [ours[0].answer_bytes, theirs[0].answer_bytes],
        "configuration": f"{SESSIONS} sessions, window {WINDOW}, {ours[0].messages} a round, "
        f"median of {len(pairs)} rounds in turns",
    }


def order_frames(count: int, prefix: str) -> list[bytes]:
    """`count` orders as JSON that rest without trading; the same every time."""
    encode = msgspec.json.Encoder().encode
    frames = []
    for number in range(count):
        product = PRODUCTS[INSTRUMENTS[number % len(INSTRUMENTS)]]
        below = (1 + number % BELOW_TICKS) * product.tick_fen_per_tonne
        price = (product.reference_fen_per_tonne - below) // FEN
        frames.append(
            encode(
                {
                    "op": "new_order",
                    "id": f"q{number:06d}",
                    "client_order_id": f"{prefix}{number:06d}",
                    "instrument": product.code,
                    "side": "buy",
                    "price": f"{price}.00",
                    "quantity": f"{product.unit_weight_kg // 1000}.{product.unit_weight_kg % 1000:03d}",
                }
            )
        )
    return frames


async def _logged_on(http: aiohttp.ClientSession, url: str, seat: Seat) -> Any:
    """A bare socket with a session of the seat's member."""
    while True:  # the gateway hears of a new key a moment after its member was admitted
        socket = await http.ws_connect(url, compress=0, decode_text=False)
        hello = msgspec.json.decode((await socket.receive()).data)
        logon = msgspec.json.encode(signed_logon(seat.seed, hello["nonce"], time_ns()))
        await socket.send_frame(logon, aiohttp.WSMsgType.TEXT)
        if msgspec.json.decode((await socket.receive()).data)["ok"]:
            return socket
        await socket.close()
        await asyncio.sleep(0.05)


async def _drive(sockets: Sequence[Any], frames: Sequence[bytes], pid: int) -> Round:
    """Send the frames through all sockets, each with a window; every answer must come and say ok."""
    cpu, started = cpu_seconds(pid), time.perf_counter()
    share = len(sockets)
    pumps = (_pump(socket, frames[at::share]) for at, socket in enumerate(sockets))
    sizes = await asyncio.gather(*pumps)
    return Round(
        len(frames), time.perf_counter() - started, cpu_seconds(pid) - cpu, sum(sizes) // len(frames)
    )


async def _pump(socket: Any, frames: Sequence[bytes]) -> int:
    """One session: WINDOW on the way, then one out for each one in. Returns the bytes that came."""
    text, size = aiohttp.WSMsgType.TEXT, 0
    for frame in frames[:WINDOW]:
        await socket.send_frame(frame, text)
    for number in range(len(frames)):
        data = (await socket.receive()).data
        assert b'"ok":true' in data, data
        size += len(data)
        if number + WINDOW < len(frames):
            await socket.send_frame(frames[number + WINDOW], text)
    return size


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _start_echo(answer_bytes: int) -> tuple[subprocess.Popen[str], str]:
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "loadtest.echo", str(answer_bytes)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}/ws"


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
