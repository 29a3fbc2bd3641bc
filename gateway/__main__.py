"""The gateway's command line: `serve`, and two helpers for people, `keygen` and `sign`."""

import asyncio
import gc
import os
import secrets
import signal
import sys
from pathlib import Path
from time import time_ns

import click
import structlog
import uvloop

from engine.location import Location, LocationError
from gateway.codec import encode
from gateway.config import HOST_DEFAULT, PORT_DEFAULT, Config, ConfigError
from gateway.server import Gateway
from gateway.session import LOGON_SECONDS, SEED_BYTES, signed_logon

EXIT_CONFIG = 2
GC_THRESHOLD = 20_000  # requests free themselves by reference counts; cycles are rare


@click.group(help=__doc__)
def main() -> None:
    """The group of commands."""


@main.command()
@click.option("--host", envvar="LECONG_HOST", default=HOST_DEFAULT, show_default=True)
@click.option("--port", envvar="LECONG_PORT", default=PORT_DEFAULT, show_default=True)
@click.option("--tls-certificate", type=click.Path(path_type=Path), envvar="LECONG_TLS_CERTIFICATE")
@click.option("--tls-key", type=click.Path(path_type=Path), envvar="LECONG_TLS_KEY")
@click.option("--permit-plain", is_flag=True, help="Serve strangers without TLS.")
@click.option("--share-port", is_flag=True, help="Let several workers listen on one port.")
@click.option(
    "--logon-seconds", envvar="LECONG_LOGON_SECONDS", default=float(LOGON_SECONDS), show_default=True
)
def serve(
    host: str,
    port: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    permit_plain: bool,
    share_port: bool,
    logon_seconds: float,
) -> None:
    """Serve clients on ws://HOST:PORT/ws."""
    config = Config(
        Location.from_environment(),
        host,
        port,
        tls_certificate,
        tls_key,
        permit_plain,
        share_port,
        logon_seconds,
    )
    try:
        config.location.create()
        uvloop.run(_serve(config))
    except (ConfigError, LocationError) as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(EXIT_CONFIG)


async def _serve(config: Config) -> None:
    gateway = Gateway(config)
    await gateway.start()
    gc.freeze()  # what lives now lives on
    gc.set_threshold(GC_THRESHOLD)
    structlog.get_logger("gateway").info(
        "gateway serves", host=config.host, port=gateway.port, pid=os.getpid()
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    stopping = asyncio.create_task(stopped.wait())
    failing = asyncio.create_task(gateway.failed())
    await asyncio.wait((stopping, failing), return_when=asyncio.FIRST_COMPLETED)
    await gateway.stop()
    stopping.cancel()
    if failing.done():
        failing.result()
    failing.cancel()


@main.command()
@click.argument("key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("nonce")
def sign(key: Path, nonce: str) -> None:
    """Print the logon message that answers NONCE (of the hello frame) with the seed in the file KEY."""
    click.echo(encode(signed_logon(read_seed(key), nonce, time_ns())).decode())


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def keygen(file: Path) -> None:
    """Write a new private key to FILE (readable by you alone) and print its public key."""
    seed = secrets.token_bytes(SEED_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"cannot make {file}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(seed.hex() + "\n")
    click.echo(signed_logon(seed, "c0:0", 0).key)


def read_seed(file: Path) -> bytes:
    """The 32 bytes of a key file, which holds them as 64 hex digits."""
    try:
        seed = bytes.fromhex(file.read_text().strip())
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise click.ClickException(
            f"{file} does not hold 64 hex digits; make a key with `gateway keygen FILE`"
        )
    return seed


if __name__ == "__main__":
    main(prog_name="python -m gateway")
