"""One connection's session: challenge, logon, scopes, and how much it may ask at once.

Law: before logon nothing but `logon` and `ping` is looked at; afterwards every request is checked against
the key's scopes. The challenge is one nonce per connection, so a recorded logon is of no use anywhere else.

    hello (nonce) --> logon: signature over canonical_text --> the key's holder --> (trade: the engine starts
    a session, whose number every order carries) --> requests
"""

import secrets
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway import answers, messages, pushes
from gateway.directory import Directory, Holder
from gateway.errors import Refusal
from gateway.notation import NS_PER_S, time_text
from gateway.outbox import Outbox

LOGON_BYTES_MAX: Final = 1024  # all that a connection may send before it is logged on
LOGON_SECONDS: Final = 3
TIMESTAMP_TOLERANCE_NS: Final = 30 * NS_PER_S
IN_FLIGHT_MAX: Final = 512  # unanswered requests of a session
NONCE_BYTES: Final = 16
SEED_BYTES: Final = 32


def canonical_text(nonce: str, timestamp_ns: int, connection_id: str) -> bytes:
    """What a logon signs: three lines after a name that no other protocol uses."""
    return f"lecong.v1.logon\n{nonce}\n{timestamp_ns}\n{connection_id}".encode()


def connection_of(nonce: str) -> str:
    """The connection id, which every nonce begins with, so that the nonce alone is enough to sign."""
    return nonce.partition(":")[0]


def signed_logon(
    seed: bytes, nonce: str, timestamp_ns: int, request_id: str = "logon", **options: Any
) -> messages.Logon:
    """The logon message of the holder of a private key (32 bytes of seed); `options`: its other fields."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key.sign(canonical_text(nonce, timestamp_ns, connection_of(nonce)))
    public_key = key.public_key().public_bytes_raw().hex()
    return messages.Logon(
        id=request_id, key=public_key, timestamp_ns=timestamp_ns, signature=signature.hex(), **options
    )


class Session:
    """The state of one connection: who it is, what it may do, how much is unanswered."""

    __slots__ = (
        "connection_id",
        "ended",
        "heard",
        "in_flight",
        "key",
        "member",
        "nonce",
        "number",
        "on_disconnect",
        "outbox",
        "received_bytes",
        "scopes",
        "starting",
    )

    def __init__(self, connection_id: str, outbox: Outbox) -> None:
        self.connection_id = connection_id
        self.nonce = f"{connection_id}:{secrets.token_hex(NONCE_BYTES)}"
        self.outbox = outbox
        self.member = -1  # the engine account; -1 until logon
        self.key = ""  # the public key that logged on: the person, where two are needed
        self.scopes: frozenset[str] = frozenset()
        self.number = 0  # of the engine's session; 0: none, its key does not trade
        self.on_disconnect: messages.OnDisconnect = "off"
        self.starting: Holder | None = None  # proven, and waiting for the engine to start the session
        self.in_flight = 0
        self.received_bytes = 0  # before logon
        self.heard = True  # since the last heartbeat
        self.ended = False

    @property
    def logged_on(self) -> bool:
        """Whether the session is a member's."""
        return self.member >= 0

    def hello(self, now_ns: int, logon_seconds: float) -> pushes.Hello:
        """The first frame: the challenge."""
        return pushes.Hello(
            connection_id=self.connection_id,
            nonce=self.nonce,
            server_time=time_text(now_ns),
            server_time_ns=now_ns,
            logon_within_ms=int(logon_seconds * 1000),
        )

    def count_before_logon(self, size: int) -> None:
        """Raises Refusal once an unauthenticated connection has sent more than LOGON_BYTES_MAX."""
        self.received_bytes += size
        if self.received_bytes > LOGON_BYTES_MAX:
            raise Refusal("too_much_before_logon")

    def prove(self, message: messages.Logon, directory: Directory, now_ns: int) -> Holder:
        """Whose key it is, which signed this connection's challenge; changes nothing. Raises Refusal when
        any proof is missing."""
        if self.logged_on or self.starting is not None:
            raise Refusal("already_logged_on")
        if abs(message.timestamp_ns - now_ns) > TIMESTAMP_TOLERANCE_NS:
            raise Refusal("stale_timestamp", "$.timestamp_ns")
        if directory.empty:
            raise Refusal("directory_unavailable")
        holder = directory.holder(message.key)
        if holder is None:  # an old copy cannot know of the newest keys
            raise Refusal("unknown_key", "$.key") if directory.current else Refusal("directory_unavailable")
        _verify(message, self.nonce, self.connection_id)
        return holder

    def begin(
        self, message: messages.Logon, holder: Holder, now_ns: int, number: int = 0
    ) -> answers.LoggedOn:
        """Be the holder's from now on, as the engine's session `number`."""
        self.starting = None
        self.member, self.scopes = holder.member.member, holder.scopes
        self.key, self.number = message.key.lower(), number
        return answers.LoggedOn(
            id=message.id,
            member=self.member,
            code=holder.member.code,
            name=holder.member.name,
            scopes=tuple(sorted(self.scopes)),
            session=str(number) if number else "",
            cancel_on_disconnect=self.on_disconnect,
            in_flight_max=IN_FLIGHT_MAX,
            server_time=time_text(now_ns),
            server_time_ns=now_ns,
        )

    def require(self, scopes: frozenset[str]) -> None:
        """Raises Refusal unless the session is logged on with one of the scopes (none named: any will do)."""
        if self.member < 0:
            raise Refusal("logon_required", "$.op")
        if scopes and self.scopes.isdisjoint(scopes):
            raise Refusal("scope_missing", "$.op")

    def admit(self) -> None:
        """Count one more unanswered request. Raises Refusal at IN_FLIGHT_MAX."""
        if self.in_flight >= IN_FLIGHT_MAX:
            raise Refusal("too_many_in_flight")
        self.in_flight += 1


def _verify(message: messages.Logon, nonce: str, connection_id: str) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(message.key))
        key.verify(
            bytes.fromhex(message.signature), canonical_text(nonce, message.timestamp_ns, connection_id)
        )
    except (InvalidSignature, ValueError):
        raise Refusal("wrong_signature", "$.signature") from None
