"""`fleet:`: several processes that share the work over NATS JetStream."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from stt_mqtt.config.network import TlsConfig
from stt_mqtt.config.section import Section
from stt_mqtt.nodes import Role

MAX_SERVERS = 16
ServerUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(nats|tls)://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})"),
    StringConstraints(max_length=300),
]
NodeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
"""Names become parts of subjects, so they have neither dots nor wildcards."""
PathText = Annotated[str, Field(min_length=1, max_length=1024)]


class Storage(StrEnum):
    """Where the NATS server keeps jobs."""

    MEMORY = "memory"
    FILE = "file"


class FleetConfig(Section):
    """Several processes that share the work over NATS JetStream. Needs the extra `fleet`."""

    role: Role = Role.BOTH
    """`gateway`: doors, no model. `worker`: model, no doors. `both`: its own threads first."""
    name: NodeName = "home"
    """Name of the fleet, the same in all its processes."""
    node: NodeName | None = None
    """Name of this process, which no other one of the fleet has. null: name of the host."""
    servers: tuple[ServerUrl, ...] = Field(
        default=("nats://127.0.0.1:4222",), max_length=MAX_SERVERS
    )
    """NATS servers of one cluster: `nats://host:4222`, or `tls://host:4222`."""
    credentials_file: PathText | None = None
    """File with a JWT and its NKey seed, of an operator."""
    nkey_file: PathText | None = None
    """File with an NKey seed."""
    tls: TlsConfig | None = None
    """TLS settings. `tls:` alone trusts the authorities of the system. null: no TLS."""
    storage: Storage = Storage.MEMORY
    """Where the servers keep jobs: `memory`, or `file` to survive a restart of a server."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Servers of the cluster that hold each job."""
    max_stored_mib: int = Field(default=64, ge=1, le=4096)
    """Memory or disk of the servers for waiting jobs, in MiB."""
    ack_wait_s: float = Field(default=3.0, ge=1.0, le=60.0)
    """Time after which the job of a worker that is gone is given to another one, in seconds."""
    max_deliver: int = Field(default=3, ge=1, le=10)
    """Workers that may fail on a job before it ends with `inference_failed`."""

    @field_validator("servers")
    @classmethod
    def _are_addresses(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if not servers:
            raise ValueError("name at least one server")
        for server in servers:
            parts = urlsplit(server)
            if parts.path not in ("", "/") or parts.query or parts.username is not None:
                raise ValueError("write servers as nats://host:port, without login and path")
            try:
                _ = parts.port
            except ValueError:
                raise ValueError("the port of a server is a number up to 65535") from None
        return servers

    @model_validator(mode="after")
    def _one_identity(self) -> FleetConfig:
        if self.credentials_file is not None and self.nkey_file is not None:
            raise ValueError("give credentials_file or nkey_file, not both")
        return self

    @field_validator("replicas")
    @classmethod
    def _replicas_can_vote(cls, replicas: int) -> int:
        if replicas % 2 == 0:
            raise ValueError("an odd number is needed: 1, 3 or 5")
        return replicas
