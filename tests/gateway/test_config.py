"""The gateway starts as told, or says in one line why not and what to do."""

import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway import __main__ as cli
from gateway import codec, messages
from gateway.config import Config, ConfigError, is_loopback
from gateway.directory import Directory
from gateway.outbox import Outbox
from gateway.server import listen
from gateway.session import Session
from tests.gateway.conftest import BUYER, members


def test_strangers_are_not_served_without_tls() -> None:
    with pytest.raises(ConfigError, match="--tls-certificate"):
        Config(host="0.0.0.0").check()

    Config(host="0.0.0.0", permit_plain=True).check()
    Config(host="127.0.0.1").check()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x.y", False)],
)
def test_loopback_is_told_from_the_world(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_bad_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="certificate"):
        Config(tls_certificate=tmp_path / "none.pem").ssl_context()


def test_a_busy_port_says_what_to_do_and_exits_with_2(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        result = CliRunner().invoke(
            cli.main, ["serve", "--port", port], env={"LECONG_DATA": str(tmp_path / "v")}
        )

    assert result.exit_code == 2
    assert f"port_in_use: 127.0.0.1:{port}" in result.output
    assert "LECONG_PORT" in result.output


def test_an_unwritable_data_folder_says_what_to_do_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = CliRunner().invoke(cli.main, ["serve"], env={"LECONG_DATA": str(tmp_path / "file" / "v")})

    assert result.exit_code == 2
    assert "LECONG_DATA" in result.output


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot_listen"):
        listen(Config(host="192.0.2.1", permit_plain=True))


def test_a_made_key_is_private_and_its_signature_opens_a_session(tmp_path: Path) -> None:
    file = tmp_path / "one.key"
    made = CliRunner().invoke(cli.main, ["keygen", str(file)])
    session = Session("c7", Outbox(lambda _: None, lambda: 0))

    signed = CliRunner().invoke(cli.main, ["sign", str(file), session.nonce])

    message = codec.decode_request(signed.output.encode())
    assert isinstance(message, messages.Logon)
    assert message.key == made.output.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(BUYER.hex())
    message = codec.decode_request(
        CliRunner().invoke(cli.main, ["sign", str(file), session.nonce]).output.encode()
    )
    assert isinstance(message, messages.Logon)
    directory = Directory()
    directory.merge(members(), ())
    assert session.prove(message, directory, message.timestamp_ns).member.member == 2


def test_keygen_never_overwrites_and_sign_refuses_what_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "one.key"
    file.write_text("not hex")

    overwritten = CliRunner().invoke(cli.main, ["keygen", str(file)])
    signed = CliRunner().invoke(cli.main, ["sign", str(file), "c1:00"])

    assert (overwritten.exit_code, file.read_text()) == (1, "not hex")
    assert (signed.exit_code, "64 hex digits" in signed.output) == (1, True)
