"""Looks at the NATS servers of a fleet with connections of its own, for the self-check.

It makes and changes nothing there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from nats.aio.msg import Msg

from stt_mqtt.config import FleetConfig
from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.client import RefusedError, TlsError
from stt_mqtt.fleet.identity import read_identity
from stt_mqtt.fleet.keeping import MAX_AGE_S
from stt_mqtt.fleet.link import Link, connect
from stt_mqtt.fleet.stores import NotMadeError, Stores
from stt_mqtt.fleet.wire import WireError, decode_worker
from stt_mqtt.nodes import WorkerStatus

CONNECT_S = 5.0
"""Longest time to connect and log in. All servers are tried at the same time."""
CLOSE_S = 1.0
HEARTBEATS_S = 1.5
"""How long to listen for workers. Each says once a second that it is there."""
MAX_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class ServerSight:
    """A server. `problem`: why it cannot be used, and what to do; None: it can.

    `refuses`: whether it answers, and the login or TLS fails until the configuration is changed.
    """

    address: str
    problem: str | None = None
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class FleetSight:
    """What was seen. `made`: whether a gateway has made what the fleet needs there.

    `problem`: why the fleet cannot use its servers, and what to do; None: it can, or there are
    none. `workers`: those that were heard, by name.
    """

    servers: tuple[ServerSight, ...]
    made: bool = False
    problem: str | None = None
    workers: tuple[WorkerStatus, ...] = ()


async def look(config: FleetConfig, node: str, listen_s: float = HEARTBEATS_S) -> FleetSight:
    """Connect to all servers, and look at the fleet over the first one that answers.

    `node`: the name of this process, which its rights may be for. `listen_s`: how long to listen
    for workers, in seconds. Raises ConfigError if a file of the section cannot be used.
    """
    identity = read_identity(config)
    links: list[Link] = []

    async def reach(url: str) -> ServerSight:
        address = urlsplit(url).netloc
        try:
            async with asyncio.timeout(CONNECT_S):
                links.append(await connect(url, identity, "stt-mqtt doctor", f"_INBOX_{node}"))
        except (RefusedError, TlsError) as error:
            return ServerSight(address, str(error), refuses=True)
        except FleetError as error:
            return ServerSight(address, str(error))
        except TimeoutError:
            return ServerSight(address, f"{address} does not answer within {CONNECT_S:g} s")
        return ServerSight(address)

    try:
        servers = tuple(await asyncio.gather(*map(reach, config.servers)))
        return await _seen(links[0], config, servers, listen_s) if links else FleetSight(servers)
    finally:
        await asyncio.gather(*(link.close(CLOSE_S) for link in links))


async def _seen(
    link: Link, config: FleetConfig, servers: tuple[ServerSight, ...], listen_s: float
) -> FleetSight:
    workers: dict[str, WorkerStatus] = {}

    def hear(message: Msg) -> None:
        try:
            status = decode_worker(message.data)
        except WireError:
            return
        if status.worker in workers or len(workers) < MAX_WORKERS:
            workers[status.worker] = status

    stores = Stores(link, config, MAX_AGE_S)
    try:
        await link.subscribe(stores.subjects.workers, hear)
        await stores.find()
    except NotMadeError:
        return FleetSight(servers)
    except FleetError as error:
        return FleetSight(servers, problem=str(error))
    await asyncio.sleep(listen_s)
    return FleetSight(servers, made=True, workers=tuple(workers[name] for name in sorted(workers)))
