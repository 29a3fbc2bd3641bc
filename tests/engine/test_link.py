"""The clients' end of the two sockets, against an engine that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from engine.frames import COMMANDS_MAX, Frame, FrameReader, LinkDownError, frame
from engine.link import UNREAD_BATCHES_MAX, CommandLink, EventLink, hello
from engine.records import COMMAND, EVENT, Records, commands_of, select
from engine.vocabulary import RECORD_VERSION, Command, Event, Reason
from tests.engine.fakes import events_of

Answer = Callable[[Frame, Records, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(path: Path, answer: Answer, greeting: bytes = hello(3, 7)) -> AsyncIterator[None]:
    """A server that greets and hands every frame to `answer`."""

    serving = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        frames = FrameReader()
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                for kind, records in frames.feed(data):
                    await answer(kind, records, writer)
            writer.close()
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*serving), 5)


async def silence(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
    """Does not answer."""


def rows(*kinds: Event, tag: int, reason: Reason = Reason.NONE) -> Records:
    answer = np.zeros(len(kinds), EVENT)
    answer["version"], answer["kind"], answer["tag"], answer["reason"] = RECORD_VERSION, kinds, tag, reason
    return answer


async def test_greeting_tells_epoch_and_sequence(tmp_path: Path) -> None:
    async with engine(tmp_path / "s", silence):
        link = await CommandLink.connect(tmp_path / "s")
        link.close()
        await link.closed()

    assert (link.epoch, link.sequence) == (3, 7)


async def test_absent_engine_is_a_link_down_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LinkDownError, match=r"does not answer on .*/s .*start it, or wait") as down:
        await CommandLink.connect(tmp_path / "s")

    assert isinstance(down.value, ConnectionError)


async def test_engine_that_greets_with_rubbish_is_a_link_down(tmp_path: Path) -> None:
    async with engine(tmp_path / "s", silence, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with pytest.raises(LinkDownError, match="closed the link before it greeted"):
            await CommandLink.connect(tmp_path / "s")


async def test_engine_that_greets_twice_is_hung_up_on(tmp_path: Path) -> None:
    async with engine(tmp_path / "s", silence, greeting=hello(1, 1) + hello(2, 2)):
        link = await CommandLink.connect(tmp_path / "s")

        await asyncio.wait_for(link.closed(), 5)

    assert link.epoch == 1


async def test_commands_arrive_as_one_frame_and_no_commands_as_none(tmp_path: Path) -> None:
    came = asyncio.Queue[tuple[Frame, bytes]]()

    async def keep(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        came.put_nowait((kind, records.tobytes()))

    commands = commands_of({"kind": Command.DEPOSIT}, {"kind": Command.WITHDRAW})
    async with engine(tmp_path / "s", keep):
        link = await CommandLink.connect(tmp_path / "s")

        link.send(commands[:0])
        link.send(commands)

        assert await came.get() == (Frame.COMMANDS, commands.tobytes())
        link.close()


async def test_more_commands_than_a_frame_holds_are_cut(tmp_path: Path) -> None:
    came = asyncio.Queue[int]()

    async def count(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        came.put_nowait(len(records))

    async with engine(tmp_path / "s", count):
        link = await CommandLink.connect(tmp_path / "s")

        link.send(np.zeros(COMMANDS_MAX + 5, COMMAND))

        assert [await came.get(), await came.get()] == [COMMANDS_MAX, 5]
        link.close()


async def test_answers_in_parts_and_out_of_order_find_their_questions(tmp_path: Path) -> None:
    asked = list[int]()

    async def backwards(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        asked.append(int(records["tag"][0]))
        if len(asked) == 2:
            for tag in reversed(asked):
                writer.write(frame(Frame.REPLY, rows(*[Event.ORDER] * tag, tag=tag)))
                writer.write(frame(Frame.REPLY, rows(Event.END, tag=tag)))

    async with engine(tmp_path / "s", backwards):
        link = await CommandLink.connect(tmp_path / "s")

        answers = await asyncio.gather(
            link.query(Command.QUERY_ORDERS, account=1), link.query(Command.QUERY_ORDERS, account=2)
        )

        assert [answer["kind"].tolist() for answer in answers] == [
            [Event.ORDER] * tag + [Event.END] for tag in asked
        ]
        link.close()


async def test_question_that_the_engine_cannot_take_is_not_an_empty_answer(tmp_path: Path) -> None:
    async def busy(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        end = rows(Event.END, tag=int(records["tag"][0]), reason=Reason.QUEUE_FULL)
        writer.write(frame(Frame.REPLY, end))

    async with engine(tmp_path / "s", busy):
        link = await CommandLink.connect(tmp_path / "s")

        with pytest.raises(LinkDownError, match="too many questions wait"):
            await link.query(Command.QUERY_BALANCES)
        link.close()


async def test_engine_that_goes_away_ends_questions_and_refuses_commands(tmp_path: Path) -> None:
    async def leave(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with engine(tmp_path / "s", leave):
        link = await CommandLink.connect(tmp_path / "s")

        with pytest.raises(LinkDownError, match="went away before it answered"):
            await link.query(Command.QUERY_BALANCES)
        await asyncio.wait_for(link.closed(), 5)
        with pytest.raises(LinkDownError, match="connect again"):
            link.send(commands_of({}))


async def test_refusals_reach_whoever_listens(tmp_path: Path) -> None:
    async def refuse(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(Frame.REFUSED, rows(Event.REFUSED, tag=9, reason=Reason.QUEUE_FULL)))

    async with engine(tmp_path / "s", refuse):
        link = await CommandLink.connect(tmp_path / "s")
        heard = asyncio.Queue[Records]()
        link.on_refused = heard.put_nowait

        link.send(commands_of({}))

        assert (await heard.get())["tag"].tolist() == [9]
        link.close()


async def test_event_link_says_what_it_wants_and_yields_until_the_engine_leaves(tmp_path: Path) -> None:
    wishes = list[Records]()

    async def publish(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        wishes.append(records)
        for sequence in (6, 7):
            writer.write(frame(Frame.EVENTS, events_of((sequence, 2))))
        writer.close()

    async with engine(tmp_path / "s", publish):
        link = await EventLink.connect(tmp_path / "s", after=5, account=4, until=7)

        came = [batch["sequence"].tolist() async for batch in link]
        again = [batch async for batch in link]

    assert came == [[6, 6], [7, 7]]
    assert (again, link.complete) == ([], False), "nobody said that this was all"
    assert [wishes[0][name].tolist() for name in ("sequence", "account", "due_ns")] == [[5], [4], [7]]


async def test_reader_that_falls_behind_stops_the_stream_and_loses_nothing(tmp_path: Path) -> None:
    batches, rows_each = 10 * UNREAD_BATCHES_MAX, 1000
    sent = 0

    async def publish(kind: Frame, records: Records, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for sequence in range(1, batches + 1):
            writer.write(frame(Frame.EVENTS, events_of((sequence, rows_each))))
            await writer.drain()
            sent = sequence
        writer.close()

    async with engine(tmp_path / "s", publish):
        link = await EventLink.connect(tmp_path / "s", after=0)
        await asyncio.sleep(0.3)
        unread = sent

        came = [int(batch["sequence"][0]) async for batch in link]

    assert unread < 2 * UNREAD_BATCHES_MAX
    assert came == list(range(1, batches + 1))


def test_greeting_is_one_event_record_of_epoch_and_sequence() -> None:
    [(kind, records)] = FrameReader().feed(hello(5, 9))

    assert kind is Frame.HELLO
    assert select(records, np.array([True]))["order_id"].tolist() == [5]
    assert records["sequence"].tolist() == [9]
