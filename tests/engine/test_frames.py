"""Frames: cut anywhere they come out whole; rubbish is a LinkError and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.frames import CARRIES_COMMANDS, HEAD, Frame, FrameReader, LinkError, frame
from engine.records import COMMAND, EVENT, RECORD_BYTES, Records
from engine.vocabulary import RECORD_VERSION


def records_of(kind: Frame, count: int, fill: int) -> Records:
    raw = bytes((fill + i) % 256 for i in range(count * RECORD_BYTES))
    return np.frombuffer(raw, COMMAND if kind in CARRIES_COMMANDS else EVENT)


@given(
    st.lists(st.tuples(st.sampled_from(Frame), st.integers(1, 4), st.integers(0, 255)), max_size=6),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_frames_come_out_whole_wherever_the_stream_is_cut(
    sent: list[tuple[Frame, int, int]], cuts: list[int]
) -> None:
    stream = b"".join(frame(kind, records_of(kind, count, fill)) for kind, count, fill in sent)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = FrameReader()

    came = []
    for start, end in pairwise(places):
        came += [(kind, records.tobytes()) for kind, records in reader.feed(stream[start:end])]

    assert came == [(kind, records_of(kind, count, fill).tobytes()) for kind, count, fill in sent]


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_random_bytes_are_frames_or_a_link_error(chunks: list[bytes]) -> None:
    reader = FrameReader()

    try:
        for chunk in chunks:
            for kind, records in reader.feed(chunk):
                assert isinstance(kind, Frame)
                assert len(records) > 0
    except LinkError:
        pass


@given(st.integers(0, 65535), st.integers(0, 2), st.integers(0, 2**32 - 1), st.binary(max_size=300))
def test_any_head_is_waited_for_cut_or_refused(kind: int, version: int, count: int, rest: bytes) -> None:
    reader = FrameReader(records_max=2)
    sound = version == RECORD_VERSION and kind in set(Frame) and 1 <= count <= 2

    try:
        came = list(reader.feed(HEAD.pack(kind, version, count) + rest[: 2 * RECORD_BYTES]))
    except LinkError:
        assert not sound or len(rest) > count * RECORD_BYTES
    else:
        assert sound
        assert len(came) <= 2


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ((1, 2, 1), "a frame of version 2, this side speaks 1"),
        ((99, 1, 1), "not a frame: kind 99, 1 records"),
        ((1, 1, 0), "not a frame: kind 1, 0 records"),
        ((1, 1, 5), r"not a frame: kind 1, 5 records \(1 to 4\)"),
    ],
)
def test_broken_head_is_named(head: tuple[int, int, int], says: str) -> None:
    with pytest.raises(LinkError, match=says):
        list(FrameReader(records_max=4).feed(HEAD.pack(*head)))
