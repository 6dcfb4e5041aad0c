"""A broker that goes away and comes back while somebody speaks: what is lost, what comes late.

A real Mosquitto, `stt-mqtt run` and `stt-mqtt satellite`; a command every few seconds.
"""

from __future__ import annotations

import itertools
import json
import shlex
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import bench, speech
from benchmarks.savings.household import Spoken
from benchmarks.savings.labels import label
from benchmarks.savings.meters import Heard, a_listener
from benchmarks.savings.ways import HANGOVER_S, a_satellite, speak
from benchmarks.speech import Clip
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.types import SAMPLE_RATE, EndReason

AWAY_S = (20.0, 60.0)
QUICK_AWAY_S = (4.0,)
BEFORE_S, AFTER_S = 10.0, 8.0
"""What is spoken while the broker is there, before and after."""
EVERY_S = 4.0
DEVICE = "hall"
MAX_AGE_S = SatelliteConfig().spool_max_age_s
SERVICE_MAX_AGE_S = MAX_AGE_S + 5.0
"""`limits.max_queue_age_s`: the service, too, has to take what the satellite still sends."""
CLOCKS_S = 0.5
"""How exactly the moments of a listener and of a file are known beside each other."""
TONE_RMS = 10.0
SEED = 5
ANSWERS_TIMEOUT_S = 90.0
"""A satellite that ends waits for its answers a minute at most."""
SETTLE_S = 1.0
FILTERS = (
    "stt/+/result",
    "stt/+/audio/start",
    "stt/+/audio/stop",
    "stt/+/satellite/state",
    "stt/bridge/state",
)


@dataclass(frozen=True, slots=True)
class Outage:
    """What became of everything that was said around one."""

    away_s: float
    utterances: int
    while_away: int
    with_words: int
    """Answered with words, of all that was said."""
    cut_short: int
    """Answered with words of a part of it only; it may have been dropped as well."""
    twice: int
    """Answered with words more than once."""
    refused: int
    """Answered by the service without words, as too old or otherwise."""
    dropped_as_told: int
    """As the satellite counts it."""
    too_old: int
    """Ended so long before the return that they must not be sent."""
    lost: int
    """Neither answered as a whole nor counted as dropped."""
    oldest_text_s: float
    """Age of the oldest speech whose text came."""
    acted_on: int
    """Texts that the satellite ran its command for."""
    acted_late: int
    """Of these, of speech that was too old by then."""


def measure(quick: bool) -> list[dict[str, Any]]:
    """One outage after the other."""
    return [asdict(outage(away_s)) for away_s in (QUICK_AWAY_S if quick else AWAY_S)]


def outage(away_s: float) -> Outage:
    """Speak, take the broker away while speaking, and see what comes of it."""
    bench.say(f"spool: the broker is away for {away_s:g} s")
    _, other_cores = bench.two_cores()
    with tempfile.TemporaryDirectory() as name, bench.pinned(other_cores):
        folder = Path(name)
        acts = folder / "acts"
        acts.mkdir()
        samples, spoken = commands(speech.samples(folder), BEFORE_S + away_s + AFTER_S)
        limits = {"max_queue_age_s": SERVICE_MAX_AGE_S}
        with ExitStack() as stack:
            running = stack.enter_context(bench.a_broker(folder))
            broker = running.broker
            with a_listener(broker, *FILTERS) as first:
                stack.enter_context(bench.a_service(folder, broker, first, limits=limits))
                satellite = stack.enter_context(
                    a_satellite(broker, DEVICE, folder, STT_MQTT__SATELLITE__ON_TEXT=_noting(acts))
                )
                first.json(f"stt/{DEVICE}/satellite/state")
                began_s, epoch_s = time.monotonic(), time.time()
                pcm = samples.astype("<i2").tobytes()
                speaker = threading.Thread(target=speak, args=(satellite, pcm, began_s))
                speaker.start()
                _sleep_until(began_s + BEFORE_S)
                heard = first.heard("")
            broker.stop()
            _sleep_until(began_s + BEFORE_S + away_s)
            broker.start()
            with a_listener(broker, *FILTERS) as second:
                back_s = time.monotonic() - began_s
                speaker.join()
                satellite.wait(ANSWERS_TIMEOUT_S)
                time.sleep(SETTLE_S)
                heard += second.heard("")
        record = Record.of(heard, acts, began_s, epoch_s)
    return judge(away_s, spoken, back_s, record)


def commands(clips: Sequence[Clip], seconds: float) -> tuple[NDArray[np.int16], list[Spoken]]:
    """A quiet room in which a command is said every `EVERY_S`."""
    samples = np.random.default_rng(SEED).normal(0.0, TONE_RMS, int(seconds * SAMPLE_RATE))
    spoken: list[Spoken] = []
    for number, clip in enumerate(itertools.cycle(clips)):
        start_s = 1.0 + number * EVERY_S
        if start_s + clip.seconds + HANGOVER_S > seconds:
            break
        at = int(start_s * SAMPLE_RATE)
        pcm = np.frombuffer(clip.pcm, "<i2").astype(np.int16)
        samples[at : at + len(pcm)] += pcm
        found = label(pcm)
        assert found is not None
        spoken.append(Spoken(clip.id, clip.text, start_s + found.start_s, start_s + found.end_s))
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16), spoken


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: when the speech ended that it is of, and when it came.

    `is_whole`: the service ended the utterance with the satellite's end mark, not by itself.
    """

    ended_s: float
    came_s: float
    text: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Act:
    """A run of the satellite's command."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """What was heard at the broker; seconds of the sound."""

    answers: tuple[Answer, ...]
    acts: tuple[Act, ...]
    dropped: int

    @classmethod
    def of(cls, heard: Sequence[Heard], acts: Path, began_s: float, epoch_s: float) -> Record:
        """Make sense of the messages of one satellite and of what its command left in `acts`.

        The end of late speech is what its start mark tells with `age_ms`, otherwise its end mark,
        or that of the service. `began_s` and `epoch_s` are the same moment on two clocks.
        """
        ended: dict[str, float] = {}
        answers: list[Answer] = []
        dropped = 0
        for message in heard:
            at_s = message.at_s - began_s
            body = json.loads(message.payload) if message.payload.startswith(b"{") else {}
            if message.topic.endswith("/audio/start") and "age_ms" in body:
                ended[body["id"]] = at_s - body["age_ms"] / 1000 - HANGOVER_S
            elif message.topic.endswith("/audio/stop"):
                ended.setdefault(body["id"], at_s - HANGOVER_S)
            elif message.topic.endswith("/satellite/state"):
                dropped = max(dropped, body.get("dropped", 0))
            elif message.topic.endswith("/result"):
                ended_s = ended.get(body["id"], body["ts"] - epoch_s)
                is_whole = body["end"] == EndReason.STOP
                answers.append(Answer(ended_s, at_s, body["text"], is_whole))
        done = [
            Act(file.stat().st_mtime - epoch_s, file.name.partition(" ")[2])
            for file in acts.iterdir()
        ]
        return cls(tuple(answers), tuple(done), dropped)

    def is_late(self, act: Act) -> bool:
        """Whether a command was run for speech that was too old, or that nobody knows of."""
        ended_s = [
            answer.ended_s
            for answer in self.answers
            if answer.text == act.text and answer.came_s <= act.at_s + CLOCKS_S
        ]
        return not ended_s or act.at_s - max(ended_s) > MAX_AGE_S + HANGOVER_S + CLOCKS_S


def judge(away_s: float, spoken: Sequence[Spoken], back_s: float, record: Record) -> Outage:
    """Count what became of each utterance."""
    ages: list[float] = []
    whole = cut_short = twice = refused = 0
    for number, one in enumerate(spoken):
        mine = [a for a in record.answers if _nearest(spoken, a.ended_s) == number]
        words = [answer for answer in mine if answer.text]
        ages += [answer.came_s - one.end_s for answer in words]
        twice += len(words) > 1
        if any(answer.is_whole for answer in words):
            whole += 1
        elif words:
            cut_short += 1
        else:
            refused += bool(mine)
    gone_s = back_s - away_s
    return Outage(
        away_s=away_s,
        utterances=len(spoken),
        while_away=sum(gone_s < one.end_s < back_s for one in spoken),
        with_words=whole,
        cut_short=cut_short,
        twice=twice,
        refused=refused,
        dropped_as_told=record.dropped,
        too_old=sum(gone_s < one.end_s < back_s - HANGOVER_S - MAX_AGE_S for one in spoken),
        lost=len(spoken) - whole - refused - record.dropped,
        oldest_text_s=round(max(ages, default=0.0), 1),
        acted_on=len(record.acts),
        acted_late=sum(map(record.is_late, record.acts)),
    )


def _nearest(spoken: Sequence[Spoken], ended_s: float) -> int:
    """Number of the utterance that ended nearest to a moment."""
    return min(range(len(spoken)), key=lambda number: abs(spoken[number].end_s - ended_s))


def _noting(folder: Path) -> str:
    """A command for `--on-text` that leaves a file with the words as a part of its name."""
    return f"mktemp -p {shlex.quote(str(folder))} '--suffix= {{text}}' XXXXXX"


def _sleep_until(at_s: float) -> None:
    time.sleep(max(at_s - time.monotonic(), 0.0))
