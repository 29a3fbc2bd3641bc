"""Logon proves the key of this connection's nonce, and nothing before it counts."""

from typing import Any

import pytest

from gateway import messages
from gateway.directory import Directory
from gateway.errors import Refusal
from gateway.outbox import Outbox
from gateway.session import IN_FLIGHT_MAX, LOGON_BYTES_MAX, Session, signed_logon
from tests.gateway.conftest import BUYER, STRANGER, members

NOW_NS = 1_700_000_000_000_000_000


def session() -> Session:
    return Session("c1", Outbox(lambda _: None, lambda: 0))


def directory() -> Directory:
    one = Directory()
    one.merge(members(), ())
    one.current = True
    return one


def refused(one: Session, message: messages.Logon, known: Directory | None = None) -> tuple[str, str]:
    with pytest.raises(Refusal) as refusal:
        one.prove(message, directory() if known is None else known, NOW_NS)
    assert not one.logged_on
    return refusal.value.code, refusal.value.path


def test_the_holder_of_a_key_gets_its_member_and_scopes() -> None:
    one = session()

    message = signed_logon(BUYER, one.nonce, NOW_NS)

    answer = one.begin(message, one.prove(message, directory(), NOW_NS), NOW_NS, 4194305)

    assert (answer.session, one.number, one.key) == ("4194305", 4194305, message.key)
    assert (answer.member, answer.code, answer.scopes) == (2, "guangzhou", ("read", "trade"))
    assert one.logged_on


def test_an_unknown_key_is_named() -> None:
    one = session()

    assert refused(one, signed_logon(STRANGER, one.nonce, NOW_NS)) == ("unknown_key", "$.key")


def test_a_signature_of_another_connection_is_worth_nothing() -> None:
    one, other = session(), session()

    assert refused(one, signed_logon(BUYER, other.nonce, NOW_NS)) == ("wrong_signature", "$.signature")


@pytest.mark.parametrize("signature", ["", "zz", "00" * 64])
def test_a_wrong_signature_is_named(signature: str) -> None:
    one = session()
    message = signed_logon(BUYER, one.nonce, NOW_NS)
    message.signature = signature

    assert refused(one, message) == ("wrong_signature", "$.signature")


@pytest.mark.parametrize("off_ns", [-31_000_000_000, 31_000_000_000])
def test_a_timestamp_of_another_time_is_refused(off_ns: int) -> None:
    one = session()

    assert refused(one, signed_logon(BUYER, one.nonce, NOW_NS + off_ns)) == (
        "stale_timestamp",
        "$.timestamp_ns",
    )


def test_a_gateway_that_knows_nobody_says_so() -> None:
    one = session()

    assert refused(one, signed_logon(BUYER, one.nonce, NOW_NS), Directory())[0] == "directory_unavailable"


def test_a_key_that_an_old_copy_does_not_know_may_come_again() -> None:
    one, old = session(), directory()
    old.current = False

    assert refused(one, signed_logon(STRANGER, one.nonce, NOW_NS), old)[0] == "directory_unavailable"
    assert one.prove(signed_logon(BUYER, one.nonce, NOW_NS), old, NOW_NS).member.member == 2


def test_a_second_logon_is_refused() -> None:
    one = session()
    message = signed_logon(BUYER, one.nonce, NOW_NS)
    one.starting = one.prove(message, directory(), NOW_NS)

    with pytest.raises(Refusal, match="already_logged_on"):
        one.prove(message, directory(), NOW_NS)
    one.begin(message, one.starting, NOW_NS)
    with pytest.raises(Refusal, match="already_logged_on"):
        one.prove(message, directory(), NOW_NS)


def test_only_a_kibibyte_is_read_before_logon() -> None:
    one = session()
    one.count_before_logon(LOGON_BYTES_MAX)

    with pytest.raises(Refusal, match="too_much_before_logon"):
        one.count_before_logon(1)


def test_unanswered_requests_are_bounded() -> None:
    one = session()
    for _ in range(IN_FLIGHT_MAX):
        one.admit()

    with pytest.raises(Refusal, match="too_many_in_flight"):
        one.admit()


def test_no_two_connections_get_the_same_nonce() -> None:
    nonces: set[Any] = {session().nonce for _ in range(100)}

    assert len(nonces) == 100
