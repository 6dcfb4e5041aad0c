"""A real nats-server with the very files that `stt-mqtt fleet-keys` writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats
import nats.errors
from nats.aio.client import Client

from stt_mqtt.cli import main
from stt_mqtt.fleet.keys import UserKey
from stt_mqtt.fleet.rights import END_OF_USERS
from stt_mqtt.fleet.subjects import Subjects
from tools.nats_servers import NatsServer, a_nats_server

SUBJECTS = Subjects("home")
GATEWAYS, WORKERS, BOTH = ("hall", "porch"), ("cellar", "attic"), ("pi",)
NODES = (*GATEWAYS, *WORKERS, *BOTH)
ORACLE = "oracle"
"""A user that only the tests have. It may do everything."""


def make_keys(folder: Path) -> None:
    """Run the command for all nodes."""
    arguments = ["--gateway", *GATEWAYS, "--worker", *WORKERS, "--both", *BOTH]
    with contextlib.redirect_stdout(None):
        assert main(["fleet-keys", str(folder), *arguments]) == 0


@contextmanager
def keyed_server(folder: Path) -> Iterator[NatsServer]:
    """The server, running. The keys are in `folder`."""
    make_keys(folder)
    users = folder / "users.conf"
    key = UserKey.new()
    (folder / f"{ORACLE}.nk").write_text(key.seed)
    with_oracle = users.read_text().removesuffix(END_OF_USERS)
    users.write_text(f"{with_oracle}    {{ nkey: {key.public} }}\n{END_OF_USERS}")
    with a_nats_server(folder, 'include "users.conf"') as server:
        yield server


class Node:
    """A client with the key of a process. `denied`: what the server refused, in lower case."""

    def __init__(self, name: str, client: Client, denied: list[str]) -> None:
        self.client = client
        self._name = name
        self._denied = denied

    async def may_publish(self, subject: str, data: bytes = b"", reply: str = "") -> bool:
        """Whether the server takes a message on the subject."""
        return await self._is_fine(self.client.publish(subject, data, reply=reply))

    async def may_subscribe(self, subject: str) -> bool:
        """Whether the server takes a subscription."""
        return await self._is_fine(self.client.subscribe(subject, cb=ignore))

    async def _is_fine(self, action: Awaitable[object]) -> bool:
        self._denied.clear()
        await action
        # A refusal comes before the answer to a ping. The first ping overtakes what is buffered.
        await self.client.flush(60)
        await self.client.flush(60)
        return not self._denied


@asynccontextmanager
async def a_node(server: NatsServer, folder: Path, name: str) -> AsyncIterator[Node]:
    """A client as the process of that name."""
    denied: list[str] = []

    async def refused(error: Exception) -> None:
        assert "permissions violation" in str(error).lower(), error
        denied.append(str(error))

    client = await nats.connect(
        server.url,
        nkeys_seed=str(folder / f"{name}.nk"),
        inbox_prefix=f"_INBOX_{name}".encode(),
        error_cb=refused,
        connect_timeout=60,
        allow_reconnect=False,
    )
    try:
        yield Node(name, client, denied)
    finally:
        await client.close()


async def ignore(_told: object) -> None:
    """Do nothing with a message or an error."""
    await asyncio.sleep(0)
