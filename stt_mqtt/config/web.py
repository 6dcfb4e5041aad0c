"""`web:`: the pages, and who may use them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from stt_mqtt.config.network import Port
from stt_mqtt.config.section import Section

MAX_ROOM_PATTERNS = 100
RoomPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?\[\]!-]{1,64}$")]
PathText = Annotated[str, Field(min_length=1, max_length=1024)]

_UNGUARDED = (
    "web.host lets other machines in, so a token is needed: write a long random word into a file, "
    "as with `openssl rand -hex 16`, and name it as web.token_file; behind Home Assistant's "
    "ingress, set web.ingress: true"
)


class WebConfig(Section):
    """The pages over HTTP: status, the browser as a satellite, and figures for machines."""

    enabled: bool = True
    """`false`: the service has no pages."""
    host: str = Field(default="127.0.0.1", min_length=1, max_length=64)
    """IP address to listen on. `0.0.0.0` is all networks; this needs `token_file` or `ingress`."""
    port: Port = 10380
    """Port to listen on."""
    token_file: PathText | None = None
    """File whose first line is the token that opens the pages. null: no token is asked for."""
    cert_file: PathText | None = None
    """PEM file with the certificate for HTTPS. null: no encryption."""
    key_file: PathText | None = None
    """PEM file with the key of the certificate."""
    rooms: tuple[RoomPattern, ...] = Field(default=("*",), max_length=MAX_ROOM_PATTERNS)
    """Device names that a browser may speak as: names, or globs such as `tablet_*`."""
    show_text: bool = False
    """Show the transcribed words on the status page."""
    ingress: bool = False
    """Let in only Home Assistant's ingress, which checks users itself, and this machine."""

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        try:
            ip_address(host)
        except ValueError:
            raise ValueError("an IP address is needed, such as 127.0.0.1") from None
        return host

    @model_validator(mode="after")
    def _key_and_certificate(self) -> WebConfig:
        if (self.key_file is None) != (self.cert_file is None):
            raise ValueError("cert_file and key_file need each other")
        return self

    @model_validator(mode="after")
    def _others_need_a_token(self) -> WebConfig:
        is_open = not (self.is_loopback or self.ingress) and self.token_file is None
        if self.enabled and is_open:
            raise ValueError(_UNGUARDED)
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Where the pages are. For all networks this is the address on this machine."""
        address = ip_address(self.host)
        host = self.host
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        scheme = "http" if self.cert_file is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"
