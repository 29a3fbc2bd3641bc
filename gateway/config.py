"""How a gateway is told where to listen: command line over environment over defaults.

Law: a socket that others can reach is encrypted, unless the operator says in so many words that it shall
not be.
"""

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.location import Location
from gateway.session import LOGON_SECONDS

HOST_DEFAULT: Final = "127.0.0.1"
PORT_DEFAULT: Final = 8015


class ConfigError(Exception):
    """The gateway cannot start as told; the message says what to do."""


@dataclass(frozen=True)
class Config:
    """Where to listen, and where the data folder is."""

    location: Location = field(default_factory=Location.from_environment)
    host: str = HOST_DEFAULT
    port: int = PORT_DEFAULT  # 0: any free one
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    permit_plain: bool = False  # a non-loopback bind without TLS
    share_port: bool = False  # SO_REUSEPORT, for several workers
    logon_seconds: float = LOGON_SECONDS

    def check(self) -> None:
        """Raises ConfigError when strangers could listen in."""
        if self.tls_certificate is None and not self.permit_plain and not is_loopback(self.host):
            raise ConfigError(
                f"refusing to serve {self.host} without TLS: give --tls-certificate and --tls-key, "
                f"or listen on {HOST_DEFAULT}, or say --permit-plain"
            )

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context, None without a certificate. Raises ConfigError."""
        if self.tls_certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.tls_certificate, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use the certificate {self.tls_certificate}: {error}") from error
        return context


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
