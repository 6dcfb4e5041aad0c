"""The subjects, streams and buckets of a fleet on NATS. See section 6 of the wire contract."""

from __future__ import annotations

from dataclasses import dataclass

CONSUMER = "workers"
"""The one consumer of the stream of jobs. All workers pull from it."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The names that a fleet has on its NATS servers. `fleet`: its name."""

    fleet: str

    @property
    def job(self) -> str:
        """Jobs, in the stream `jobs`."""
        return f"stt.{self.fleet}.job"

    @property
    def jobs(self) -> str:
        """The stream of jobs."""
        return f"STT_{self.fleet}_JOBS"

    @property
    def failures(self) -> str:
        """What the servers say about jobs that were delivered too often."""
        return f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{self.jobs}.{CONSUMER}"

    @property
    def audio(self) -> str:
        """The stream with the audio of jobs that are larger than a message may be."""
        return f"STT_{self.fleet}_AUDIO"

    @property
    def audio_parts(self) -> str:
        """The parts of the audio of all jobs, in the stream `audio`."""
        return f"stt.{self.fleet}.audio.>"

    def audio_part(self, job: str, part: int | str) -> str:
        """A part of the audio of a job; "*": all its parts."""
        return f"stt.{self.fleet}.audio.{job}.{part}"

    @property
    def gateways(self) -> str:
        """The bucket with an entry for each live gateway."""
        return f"STT_{self.fleet}_GATEWAYS"

    @property
    def gateway_stream(self) -> str:
        """The stream behind the bucket of gateways."""
        return f"KV_{self.gateways}"

    def gateway_entry(self, gateway: str) -> str:
        """The entry of a gateway in the bucket; "*": those of all."""
        return f"$KV.{self.gateways}.{gateway}"

    @property
    def workers(self) -> str:
        """The heartbeats of all workers."""
        return self.worker("*")

    def result(self, gateway: str) -> str:
        """Results for a gateway, which answers each with whether it was accepted."""
        return f"stt.{self.fleet}.result.{gateway}"

    def worker(self, worker: str) -> str:
        """Heartbeats of a worker."""
        return f"stt.{self.fleet}.worker.{worker}"

    def names(self, gateway: str) -> str:
        """The names of the home that a gateway tells all workers; "*": those of all gateways."""
        return f"stt.{self.fleet}.names.{gateway}"
