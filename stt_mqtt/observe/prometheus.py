"""The figures of the service in the text format of Prometheus.

Everything is read when it is asked for; nothing is counted here. All labels have their values from
fixed lists or from the configuration, never from messages, so the number of series is bounded.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from stt_mqtt import __version__
from stt_mqtt.audio.decoders import DecoderFailure
from stt_mqtt.errors import UtteranceError
from stt_mqtt.hints import Hint
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.families import PREFIX, counter, counters, gauge, gauges, histograms
from stt_mqtt.observe.histogram import Histogram
from stt_mqtt.observe.metrics import SECONDS, DropReason, Metrics
from stt_mqtt.rungs import RungStatus
from stt_mqtt.types import DeviceState, OutcomeKind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The classic text format. Every version of Prometheus reads it."""
CODES = tuple(sorted(kind.code for kind in UtteranceError.__subclasses__()))
"""All codes of errors."""
KINDS = tuple(kind.value for kind in OutcomeKind)
NOTHING: Counter[str] = Counter()


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read beside the counters of `Metrics`.

    `devices`: how many are in each state. `lost`: messages that the transport lost, by cause.
    `broker_connections`: how often the broker has accepted a connection. `fleet`: None without one.
    """

    queue_jobs: int
    queue_audio_s: float
    queue_oldest_s: float
    buffered_bytes: int
    buffer_limit_bytes: int
    devices: Mapping[DeviceState, int]
    threads: int
    hanging_threads: int
    batches: Histogram
    rung_status: RungStatus
    lost: Mapping[str, int]
    broker_connected: bool
    broker_connections: int
    outbox_messages: int
    outbox_bytes: int
    inbox_messages: int
    inbox_bytes: int
    wyoming_connections: int
    browsers: int
    loop_lag: Histogram
    fleet: FleetStatus | None


class _ProcessFigures(Collector):
    """The figures of the process. Its start time follows a clock that is set later."""

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        # A collector reads the clock once, when it is made.
        return ProcessCollector(namespace=PREFIX, registry=None).collect()


class Exporter(Collector):
    """Writes the figures. Use it on the event loop only. `doors`: the names of the doors."""

    def __init__(
        self, metrics: Metrics, doors: Sequence[str], read: Callable[[], Readings]
    ) -> None:
        self._metrics = metrics
        self._doors = doors
        self._read = read
        self.registry = CollectorRegistry()
        """All figures, also those of the process."""
        self.registry.register(self)
        self.registry.register(_ProcessFigures())

    def text(self) -> bytes:
        """All figures now, in the format `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that the registry does not collect before there is anything to read."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All figures except those of the process."""
        readings = self._read()
        yield from self._utterances()
        yield from self._work(readings)
        yield from self._speculation()
        yield from _queue(readings)
        yield from self._engine(readings)
        yield from self._transport(readings)
        if readings.fleet is not None:
            yield from _fleet(readings.fleet)
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily(f"{PREFIX}_build", "Versions of the service and of Python.", build)

    def _utterances(self) -> Iterator[Metric]:
        metrics, empty = self._metrics, Histogram(SECONDS)
        yield counters(
            "utterances",
            "Utterances that were answered.",
            ("door", "kind"),
            (
                ((door, kind), metrics.doors.get(door, NOTHING)[kind])
                for door in self._doors
                for kind in KINDS
            ),
        )
        yield counters(
            "errors",
            "Utterances that were answered with an error.",
            ("code",),
            (((code,), metrics.errors[code]) for code in CODES),
        )
        yield counters(
            "hints",
            "Utterances whose audio looked faulty.",
            ("hint",),
            (((hint,), metrics.hints[hint]) for hint in Hint),
        )
        yield histograms(
            "latency_seconds",
            "Time from the end of the speech to its transcript, or to the answer no_speech.",
            ("door",),
            (((door,), metrics.latency.get(door, empty)) for door in self._doors),
        )

    def _work(self, readings: Readings) -> Iterator[Metric]:
        metrics = self._metrics
        yield histograms(
            "stage_seconds",
            "Time of one stage of an utterance.",
            ("stage",),
            (((stage,), histogram) for stage, histogram in metrics.stages.items()),
        )
        yield histograms(
            "batch_utterances",
            "Utterances that were transcribed together.",
            (),
            [((), readings.batches)],
        )
        yield counter(
            "audio_seconds", "Audio of the utterances that had no error.", metrics.audio_s
        )
        yield counter("inferences", "Utterances that reached the model.", metrics.inferences)
        yield counter(
            "retries", "Utterances that were doubtful and decoded again.", metrics.retries
        )

    def _speculation(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield counter(
            "glimpses", "Transcriptions of open utterances, made at a pause.", metrics.glimpses
        )
        yield counter("glimpse_work_seconds", "Work for glimpses.", metrics.glimpses_s)
        yield counter(
            "remembered",
            "Utterances whose answer was known from a glimpse when they ended.",
            metrics.remembered,
        )
        yield counter(
            "remembered_work_seconds",
            "Work for glimpses whose answer was used.",
            metrics.remembered_s,
        )
        yield counter(
            "drafts",
            "Quick transcriptions while somebody speaks, for partial results.",
            metrics.drafts,
        )
        yield counter("draft_work_seconds", "Work for drafts.", metrics.drafts_s)

    def _engine(self, readings: Readings) -> Iterator[Metric]:
        status = readings.rung_status
        yield gauge(
            "inference_threads", "Inference threads. 0: the model is loading.", readings.threads
        )
        yield gauge("hanging_threads", "Inference threads that hang.", readings.hanging_threads)
        yield gauges(
            "rung_active",
            "1 for the rung of the ladder that is in use, 0 for the others.",
            ("rung", "model"),
            (((rung.name, rung.model), rung.name == status.active) for rung in status.rungs),
        )
        yield counters(
            "decoder_failures",
            "Failures of the processes that decode audio.",
            ("failure",),
            (((failure,), self._metrics.decoder_failures[failure]) for failure in DecoderFailure),
        )
        yield counter(
            "rung_changes", "Changes to another rung of the ladder.", self._metrics.rung_changes
        )
        yield histograms(
            "loop_lag_seconds",
            "How late a timer of the event loop was. Measured every second.",
            (),
            [((), readings.loop_lag)],
        )

    def _transport(self, readings: Readings) -> Iterator[Metric]:
        own = {reason: self._metrics.dropped[reason] for reason in DropReason}
        yield counters(
            "dropped",
            "Messages that had no effect, and answers that were lost.",
            ("reason",),
            (((reason,), count) for reason, count in [*own.items(), *readings.lost.items()]),
        )
        yield gauge(
            "broker_connected",
            "1 if the service is connected to the broker, else 0.",
            readings.broker_connected,
        )
        yield counter(
            "broker_connections",
            "Connections that the broker has accepted.",
            readings.broker_connections,
        )
        yield gauge(
            "outbox_messages",
            "Messages that the broker has not acknowledged.",
            readings.outbox_messages,
        )
        yield gauge("outbox_bytes", "Memory of these messages.", readings.outbox_bytes)
        yield gauge(
            "inbox_messages", "Messages that were not handled yet.", readings.inbox_messages
        )
        yield gauge("inbox_bytes", "Memory of these messages.", readings.inbox_bytes)
        yield gauge(
            "wyoming_connections",
            "Clients that are connected by Wyoming.",
            readings.wyoming_connections,
        )
        yield gauge("browsers", "Browsers that are connected as satellites.", readings.browsers)


def _queue(readings: Readings) -> Iterator[Metric]:
    yield gauge(
        "queue_utterances", "Utterances that wait for an inference thread.", readings.queue_jobs
    )
    yield gauge("queue_audio_seconds", "Audio of these utterances.", readings.queue_audio_s)
    yield gauge(
        "queue_oldest_seconds", "Longest time that one of them has waited.", readings.queue_oldest_s
    )
    yield gauge(
        "audio_buffer_bytes", "Audio of all open and queued utterances.", readings.buffered_bytes
    )
    yield gauge("audio_buffer_limit_bytes", "Most audio that is kept.", readings.buffer_limit_bytes)
    yield gauges(
        "devices",
        "Devices that are known, by what they are doing.",
        ("state",),
        (((state,), readings.devices.get(state, 0)) for state in DeviceState),
    )


def _fleet(fleet: FleetStatus) -> Iterator[Metric]:
    """No label has the name of a worker: names come from messages."""
    yield gauge(
        "fleet_connected", "1 if the service is connected to the fleet, else 0.", fleet.connected
    )
    yield gauge(
        "fleet_leads", "1 if the service speaks for all gateways of its fleet, else 0.", fleet.leads
    )
    yield gauge("fleet_gateways", "Gateways that are there.", len(fleet.gateways))
    yield gauge("fleet_workers", "Workers that are there.", len(fleet.workers))
    yield gauge("fleet_threads", "Inference threads of these workers.", fleet.threads)
    yield gauge("fleet_busy_threads", "Threads of these workers that are at work.", fleet.busy)
    yield gauge("fleet_slots", "Jobs that these workers can hold at the same time.", fleet.slots)
    yield gauge("fleet_in_flight", "Jobs of this service that have no result yet.", fleet.in_flight)
    yield counter("fleet_late", "Results that came too late or twice.", fleet.late)
    yield counter("fleet_again", "Jobs that were published again.", fleet.again)
