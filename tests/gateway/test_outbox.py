"""One write per turn; public data gives way, private data never does."""

from gateway.outbox import OUTBOX_PRIVATE_BYTES_MAX, OUTBOX_PUBLIC_BYTES_MAX, Outbox, text_frame

TOPIC = ("depth", 0)


class Wire:
    def __init__(self) -> None:
        self.unsent = 0
        self.woken = 0
        self.outbox = Outbox(self._wake, lambda: self.unsent)

    def _wake(self, outbox: Outbox) -> None:
        self.woken += 1


def test_all_frames_of_a_turn_leave_in_one_write() -> None:
    wire = Wire()

    for payload in (b"a", b"b" * 200, b"c" * 70_000):
        wire.outbox.send(payload)

    assert wire.woken == 1
    assert wire.outbox.take() == text_frame(b"a") + text_frame(b"b" * 200) + text_frame(b"c" * 70_000)
    wire.outbox.send(b"d")
    assert wire.woken == 2


def test_frames_have_the_lengths_of_rfc_6455() -> None:
    assert text_frame(b"x" * 125)[:2] == b"\x81\x7d"
    assert text_frame(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert text_frame(b"x" * 65536)[:10] == b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"


def test_public_frames_are_dropped_and_their_topic_turns_stale_when_the_peer_is_behind() -> None:
    wire = Wire()
    wire.unsent = OUTBOX_PUBLIC_BYTES_MAX + 1

    assert not wire.outbox.publish(text_frame(b"delta"), TOPIC)
    wire.unsent = 0
    assert not wire.outbox.publish(text_frame(b"delta"), TOPIC)  # only a fresh snapshot starts it again

    assert wire.outbox.stale == {TOPIC}
    assert wire.outbox.take() == b""


def test_private_frames_beyond_the_maximum_end_the_connection_and_none_is_dropped() -> None:
    wire = Wire()
    wire.unsent = OUTBOX_PRIVATE_BYTES_MAX

    wire.outbox.send(b"fill")

    assert wire.outbox.take() == text_frame(b"fill")
    assert wire.outbox.overflowed
