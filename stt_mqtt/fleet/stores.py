"""What a fleet has on its NATS servers: two streams, a bucket and a consumer. Made when missing.

Gateways make and change them. A worker only looks whether they are there.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.link import ApiError, Link, NobodyAnswersError
from stt_mqtt.fleet.subjects import CONSUMER, Subjects

PRIORITY_GROUP: Final = "jobs"
GATEWAY_TTL_S = 3.0
"""Age at which the entry of a gateway is deleted, unless it is renewed."""
MAX_UNACKNOWLEDGED = 4096
"""Most jobs of the fleet that workers hold at the same time."""
MAX_PULLS = 8192
"""Most requests for jobs that wait at the same time."""
MAX_GATEWAYS = 64
"""Most entries that are read from the bucket."""
_PRIORITIES_SINCE = (2, 12)
_NS = 1_000_000_000
_NO_STREAM = 10059
_NO_CONSUMER = 10014
_NO_MESSAGE = 10037
_MADE_MEANWHILE = 10058
_WITHOUT_JETSTREAM = {10039, 10076}


class NotMadeError(FleetError):
    """No gateway has made what the fleet needs on its servers."""


class Stores:
    """The streams, the bucket and the consumer, as one connection sees them.

    `max_age_s`: age at which the servers delete a job, in seconds.
    """

    def __init__(self, link: Link, config: FleetConfig, max_age_s: float) -> None:
        self.link = link
        self.subjects = Subjects(config.name)
        self.priorities = False
        """Whether pulls have a priority. NATS servers before 2.12 know none."""
        self.ack_wait_s = config.ack_wait_s
        """Time after which a job without a sign of life is delivered again, in seconds."""
        self._config = config
        self._max_age_ns = round(max_age_s * _NS)

    async def make(self) -> str:
        """Make what is missing, change what differs. Return the times at which jobs were lost.

        Raises FleetError, with a sentence that says what to do.
        """
        with self._explained():
            made = [await self._make_stream(wanted) for wanted in self._streams()]
            return f"{made[0]} {self._know(await self._make_consumer())}"

    async def find(self) -> str:
        """The same for a worker, which makes nothing."""
        with self._explained():
            found = await self._info(f"CONSUMER.INFO.{self.subjects.jobs}.{CONSUMER}")
        if found is None:
            raise NotMadeError(
                "no gateway of the fleet has been here yet: start one, with the same fleet.name "
                f"({self.subjects.fleet})"
            )
        return self._know(found)

    async def entries(self) -> dict[str, bytes]:
        """The gateways in the bucket, each with its entry. Raises FleetError."""
        stream = self.subjects.gateway_stream
        every = self.subjects.gateway_entry("*")
        found = {}
        with self._explained():
            info = await self.link.api(f"STREAM.INFO.{stream}", {"subjects_filter": every})
            for subject in list(info["state"].get("subjects") or ())[:MAX_GATEWAYS]:
                entry = await stored_message(self.link, stream, last_by_subj=subject)
                # What has headers marks a deletion.
                if entry is not None and "hdrs" not in entry:
                    found[subject.rpartition(".")[2]] = data_of(entry)
        return found

    def _streams(self) -> Iterator[dict[str, Any]]:
        """What must be true of the streams. The first one has the jobs."""
        config, subjects = self._config, self.subjects
        common = {
            "storage": config.storage.value,
            "num_replicas": config.replicas,
            "discard": "new",
            "max_age": self._max_age_ns,
        }
        half = config.max_stored_mib * 1024 * 1024 // 2
        yield common | {
            "name": subjects.jobs,
            "subjects": [subjects.job],
            "retention": "workqueue",
            "max_bytes": half,
            "duplicate_window": self._max_age_ns,
        }
        yield common | {
            "name": subjects.audio,
            "subjects": [subjects.audio_parts],
            "retention": "limits",
            "max_bytes": half,
            "max_msgs_per_subject": 1,
        }
        yield common | {
            "name": subjects.gateway_stream,
            "subjects": [subjects.gateway_entry(">")],
            "retention": "limits",
            "storage": "memory",
            "max_age": round(GATEWAY_TTL_S * _NS),
            "max_bytes": 1024 * 1024,
            "max_msgs_per_subject": 1,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }

    async def _make_stream(self, wanted: dict[str, Any]) -> str:
        name = wanted["name"]
        found = await self._info(f"STREAM.INFO.{name}")
        if found is None:
            # Sequences of a stream that is made again do not come again.
            first = {"first_seq": time.time_ns() // 1_000_000}
            try:
                found = await self.link.api(f"STREAM.CREATE.{name}", wanted | first)
            except ApiError as error:
                if error.code != _MADE_MEANWHILE:
                    raise FleetError(self._refusal(f"stream {name}", error)) from error
                found = await self.link.api(f"STREAM.INFO.{name}")
        if _differs(found["config"], wanted):
            try:
                await self.link.api(f"STREAM.UPDATE.{name}", found["config"] | wanted)
            except ApiError as error:
                raise FleetError(
                    self._refusal(f"stream {name}", error)
                    + f"; or delete it, `nats stream rm {name}`, and it is made again"
                ) from error
        return str(found["created"])

    async def _make_consumer(self) -> dict[str, Any]:
        config, stream = self._config, self.subjects.jobs
        wanted = {
            "name": CONSUMER,
            "durable_name": CONSUMER,
            "ack_policy": "explicit",
            "ack_wait": round(config.ack_wait_s * _NS),
            "max_deliver": config.max_deliver,
            "max_ack_pending": MAX_UNACKNOWLEDGED,
            "max_waiting": MAX_PULLS,
            "deliver_policy": "all",
            "replay_policy": "instant",
        }
        if self.link.server.version >= _PRIORITIES_SINCE:
            wanted |= {"priority_groups": [PRIORITY_GROUP], "priority_policy": "prioritized"}
        found = await self._info(f"CONSUMER.INFO.{stream}.{CONSUMER}")
        if found is not None and not _differs(found["config"], wanted):
            return found
        request = {"stream_name": stream, "config": wanted}
        try:
            return await self.link.api(f"CONSUMER.CREATE.{stream}.{CONSUMER}", request)
        except ApiError as error:
            raise FleetError(self._refusal(f"consumer {CONSUMER} of {stream}", error)) from error

    def _know(self, consumer: dict[str, Any]) -> str:
        """Note how the consumer is. Return when it was made."""
        config = consumer["config"]
        self.priorities = PRIORITY_GROUP in (config.get("priority_groups") or ())
        self.ack_wait_s = config["ack_wait"] / _NS
        return str(consumer["created"])

    async def _info(self, path: str) -> dict[str, Any] | None:
        try:
            return await self.link.api(path)
        except ApiError as error:
            if error.code in (_NO_STREAM, _NO_CONSUMER):
                return None
            raise

    def _refusal(self, what: str, error: ApiError) -> str:
        return (
            f"{self.link.server.address} refuses the {what}: {error}; check fleet.storage, "
            "fleet.replicas and fleet.max_stored_mib, and the limits of JetStream on the server"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what happens inside into sentences for the person who has to act."""
        address = self.link.server.address
        try:
            yield
        except ApiError as error:
            if error.code in _WITHOUT_JETSTREAM:
                raise FleetError(
                    f"{address} has no JetStream: add a `jetstream` section to its configuration"
                ) from None
            raise FleetError(f"JetStream on {address} refuses: {error}") from error
        except FleetError as error:
            refused = self.link.refused
            if refused is not None:
                raise FleetError(
                    f"{address} refuses what this process needs: {refused}; check the rights of "
                    "its user"
                ) from error
            if isinstance(error, NobodyAnswersError):
                raise FleetError(
                    f"{address} has no JetStream yet: its configuration needs a `jetstream` "
                    "section, and most servers of a cluster must run"
                ) from None
            raise
        except (KeyError, TypeError):
            raise FleetError(f"JetStream on {address} sent an answer that is none") from None


async def stored_message(link: Link, stream: str, **which: object) -> dict[str, Any] | None:
    """A message in a stream: the last one of a subject, or that with a sequence. Raises FleetError.

    None: there is none.
    """
    try:
        answer = await link.api(f"STREAM.MSG.GET.{stream}", which)
        return dict(answer["message"])
    except ApiError as error:
        if error.code == _NO_MESSAGE:
            return None
        raise
    except (KeyError, TypeError, ValueError):
        raise FleetError("JetStream sent a message that is none") from None


def data_of(message: dict[str, Any]) -> bytes:
    """The payload of a message of `stored_message`. Raises FleetError."""
    try:
        return base64.b64decode(message.get("data", ""), validate=True)
    except (ValueError, TypeError):
        raise FleetError("JetStream sent a message that is none") from None


def _differs(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return any(found.get(key) != value for key, value in wanted.items())
