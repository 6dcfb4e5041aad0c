"""A client of a Wyoming speech server that does what the Assist pipeline of Home Assistant does.

Read in Home Assistant 2026.2.3 and 2026.11.0: `components/wyoming/stt.py` and
`components/assist_pipeline`. Both versions open one connection for each utterance and send chunks
of 10 ms while the microphone runs. They differ in what is in `CURRENT` and `OLDER`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info

from stt_mqtt.types import SAMPLE_RATE

CHUNK_S = 0.01
CHUNK_BYTES = 2 * round(CHUNK_S * SAMPLE_RATE)
STREAM_FAILED = "stt-stream-failed"
NO_TEXT = "stt-no-text-recognized"
_MONO = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}

SpeechProbability = Callable[[bytes], float]
"""The probability of speech in a chunk of `CHUNK_BYTES`, from 0 to 1; below 0: not known yet."""


@dataclass(frozen=True, slots=True)
class PipelineVersion:
    """What differs between versions of Home Assistant."""

    reads_while_it_uploads: bool
    """It takes a transcript before it has sent audio-stop; otherwise it reads only afterwards."""
    heeds_external_vad: bool
    """Without `requires_external_vad` it has no voice detector of its own, and no limit of 15 s."""
    heeds_errors: bool
    """An `error` ends the pipeline; otherwise only the end of the connection does."""


CURRENT = PipelineVersion(reads_while_it_uploads=True, heeds_external_vad=True, heeds_errors=True)
"""2026.11."""
OLDER = PipelineVersion(reads_while_it_uploads=False, heeds_external_vad=False, heeds_errors=False)
"""2026.2."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How the speech-to-text stage of a pipeline ended."""

    text: str | None
    """None: the pipeline ended with `error`."""
    error: str | None
    """A code of Home Assistant: `STREAM_FAILED` or `NO_TEXT`."""
    detail: str | None
    """Text of the server's `error` event, or of the failure of the connection."""
    uploaded_s: float
    """Audio that was sent."""
    stopped: bool
    """Whether it sent audio-stop."""
    timed_out: bool
    """Whether its own voice detector gave up after `EndOfCommand.TIMEOUT_S`."""
    at: float
    """When it ended, by the clock of the caller."""


class EndOfCommand:
    """The pipeline's own end of a command, from the probability of speech in each chunk.

    A command begins with 0.3 s of speech. It lasts 1 s at least, and ends after 0.7 s of silence in
    all. Only 1 s of speech in a row begins the count of silence anew. If there is less than 0.3 s
    of speech, as in "stop", nothing ends it but the limit of 15 s.
    """

    SPEECH_S = 0.3
    COMMAND_S = 1.0
    SILENCE_S = 0.7
    RESET_S = 1.0
    TIMEOUT_S = 15.0
    BEGINS = 0.2
    GOES_ON = 0.5

    def __init__(self) -> None:
        self.timed_out = False
        self._heard_s = self._speech_s = self._silence_s = self._other_s = 0.0
        self._command_s: float | None = None

    def add(self, probability: float) -> bool:
        """Take the next chunk. Whether the command is over."""
        self._heard_s += CHUNK_S
        if self._heard_s > self.TIMEOUT_S - CHUNK_S / 2:
            self.timed_out = True
            return True
        if probability < 0:
            return False
        if self._command_s is None:
            self._begin(probability > self.BEGINS)
            return False
        return self._go_on(self._command_s, probability > self.GOES_ON)

    def _begin(self, speech: bool) -> None:
        self._other_s = 0.0 if speech else self._other_s + CHUNK_S
        if speech:
            self._speech_s += CHUNK_S
        elif self._other_s >= self.RESET_S:
            self._speech_s = self._other_s = 0.0
        if self._speech_s > self.SPEECH_S - CHUNK_S / 2:
            self._command_s, self._other_s = self._speech_s, 0.0

    def _go_on(self, command_s: float, speech: bool) -> bool:
        self._command_s = command_s + CHUNK_S
        if not speech:
            self._other_s = 0.0
            self._silence_s += CHUNK_S
            silent = self._silence_s > self.SILENCE_S - CHUNK_S / 2
            return silent and self._command_s > self.COMMAND_S - CHUNK_S / 2
        self._other_s += CHUNK_S
        if self._other_s >= self.RESET_S:
            self._silence_s = self._other_s = 0.0
        return False


async def microphone(
    pcm: bytes,
    quiet: bytes,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[bytes, None]:
    """Chunks of 16 kHz mono 16-bit PCM in real time, then of `quiet` again and again, without end.

    A satellite sends until the pipeline tells it that it is over.
    """
    began_at, number = clock(), 0
    heard = pcm
    while True:
        while len(heard) < CHUNK_BYTES:
            heard += quiet
        number += 1
        await sleep(max(began_at + number * CHUNK_S - clock(), 0.0))
        yield heard[:CHUNK_BYTES]
        heard = heard[CHUNK_BYTES:]


class AssistPipeline:
    """Speech-to-text of one Home Assistant, at one Wyoming server."""

    def __init__(
        self,
        host: str,
        port: int,
        speech_probability: SpeechProbability,
        version: PipelineVersion = CURRENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = host, port
        self._speech_probability = speech_probability
        self._version = version
        self._clock = clock
        self._requires_external_vad = True

    async def load(self) -> Info:
        """Ask the server what it is, as at the start of Home Assistant. Raises OSError."""
        async with AsyncTcpClient(*self._address) as client:
            await client.write_event(Describe().event())
            while (event := await client.read_event()) is not None:
                if Info.is_type(event.type):
                    info = Info.from_event(event)
                    if self._version.heeds_external_vad:
                        self._requires_external_vad = info.asr[0].requires_external_vad
                    return info
        raise ConnectionError("the server closed the connection without an info")

    async def run(self, audio: AsyncGenerator[bytes, None], language: str = "en") -> PipelineResult:
        """Send `audio`, chunks of `CHUNK_BYTES`, until its command or the pipeline is over."""
        return await _Run(
            AsyncTcpClient(*self._address),
            self._version,
            self._speech_probability if self._requires_external_vad else None,
            self._clock,
        ).run(audio, language)


class _Run:
    """One utterance."""

    def __init__(
        self,
        client: AsyncTcpClient,
        version: PipelineVersion,
        speech_probability: SpeechProbability | None,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._version = version
        self._speech_probability = speech_probability
        self._clock = clock
        self._end = EndOfCommand()
        self._uploaded_s = 0.0
        self._stopped = False

    async def run(self, audio: AsyncGenerator[bytes, None], language: str) -> PipelineResult:
        try:
            async with self._client as client:
                await client.write_event(Transcribe(language=language).event())
                await client.write_event(AudioStart(**_MONO).event())
                if self._version.reads_while_it_uploads:
                    return await self._both(audio)
                await self._upload(audio)
                return await self._receive()
        except OSError as error:
            return self._result(error=STREAM_FAILED, detail=str(error) or type(error).__name__)

    async def _both(self, audio: AsyncGenerator[bytes, None]) -> PipelineResult:
        upload = asyncio.create_task(self._upload(audio))
        receive = asyncio.create_task(self._receive())
        try:
            await asyncio.wait((upload, receive), return_when=asyncio.FIRST_COMPLETED)
            if not receive.done():
                # A failure of the upload ends the pipeline, whatever could still be read.
                upload.result()
            return await receive
        finally:
            upload.cancel()
            receive.cancel()
            await asyncio.gather(upload, receive, return_exceptions=True)

    async def _upload(self, audio: AsyncGenerator[bytes, None]) -> None:
        probability = self._speech_probability
        async with aclosing(audio):
            async for chunk in audio:
                if probability is not None and self._end.add(probability(chunk)):
                    break
                await self._client.write_event(AudioChunk(**_MONO, audio=chunk).event())
                self._uploaded_s += len(chunk) / 2 / SAMPLE_RATE
        await self._client.write_event(AudioStop().event())
        self._stopped = True

    async def _receive(self) -> PipelineResult:
        while (event := await self._client.read_event()) is not None:
            if Transcript.is_type(event.type):
                text = Transcript.from_event(event).text
                return self._result(text) if text else self._result(error=NO_TEXT)
            if Error.is_type(event.type) and self._version.heeds_errors:
                return self._result(error=STREAM_FAILED, detail=Error.from_event(event).text)
        return self._result(error=STREAM_FAILED, detail="the connection is lost")

    def _result(
        self, text: str | None = None, error: str | None = None, detail: str | None = None
    ) -> PipelineResult:
        return PipelineResult(
            text,
            error,
            detail,
            round(self._uploaded_s, 3),
            self._stopped,
            self._end.timed_out,
            self._clock(),
        )
