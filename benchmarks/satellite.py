"""What codecs, voice detector and clean-up of the satellite cost: words, orders, bytes, CPU time.

Recordings are coded and decoded by the program's own encoders and decoder, cut out of a quiet room
by its own voice detector, or cleaned among noise by its own clean-up; then `stt-mqtt transcribe`
hears them with its defaults. The voice detector also hears minutes of a household.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import household, report, scoring, sounds, speech
from benchmarks.harness import say, transcribed
from benchmarks.household import Noise, Room, Spoken
from benchmarks.sounds import Sound, at_level, level_dbfs
from benchmarks.speech import Clip
from stt_mqtt.audio.activity import VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.satellite.segmenter import (
    FRAME_BYTES,
    FRAME_S,
    CloseReason,
    ListenState,
    Segmenter,
    SegmenterOutput,
    VadFrame,
)
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

SEED = 7
MAX_S = 60.0
BEFORE_S, AFTER_S = 2.0, 1.5
ROOM_DBFS = -70.0
"""Level of the quiet room around a recording."""
LATE_SAMPLES = 104
"""By which libopus is late, 6.5 ms."""
PACKET_SAMPLES = 960
KBPS = (12, 16, 24, 32, 48)
FOUND_SHARE = 0.5
"""Of an utterance that must have been sent for it to be found."""

LEAD_S = 3.0
"""Of noise before anybody speaks: a satellite listens all day, its clean-up knows the room."""
PRE_ROLL_S, HANGOVER_S = 0.3, 0.6
SNRS_DB = (20, 10, 5)
LEVELS_DBFS = (-30, -40, -50)
MICROPHONE_DBFS = -80.0
NOISES = ("doing the dishes", "rain", "music/sfx: ", "exercise bike", "background noise")
"""How the labels of noises begin that somebody speaks in."""
SINGLE_WORDS = "gsc"
SINGLE_WORD_CLIPS = 60
CLEANUPS = {
    "nothing": CleanupConfig(high_pass=False),
    "high-pass (the default)": CleanupConfig(),
    "high-pass, noise suppression": CleanupConfig(noise_suppression=True),
    "high-pass, automatic gain": CleanupConfig(auto_gain=True),
}

Transcribe: TypeAlias = Callable[..., Mapping[Path, str]]
Later: TypeAlias = Callable[[], dict[str, Any]]
"""Figures that can be told when everything has been heard."""
UNHEARD = "\0"

Judged: TypeAlias = list[tuple[int, int, bool]]
"""For each recording wrong words, words said (both 0 of an order), and whether it was right."""


# What arrives -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """How a recording gets to the service; `beside`: the way that it is compared with.

    `late`: samples of silence before it. `room`: in a quiet room. `cut`: as the satellite cuts it.
    """

    beside: str
    codec: Codec
    kbps: int = 0
    late: int = 0
    room: bool = False
    cut: bool = False

    def utterances(self, clip: Clip) -> list[Sequence[bytes]]:
        """What is coded, each in one or more pieces; nothing where it hears nobody."""
        if self.cut:
            return [cut.frames for cut in cuts(in_a_quiet_room(clip), SatelliteConfig())]
        pcm = bytes(2 * self.late) + (in_a_quiet_room(clip) if self.room else clip.pcm)
        # As long as Opus makes it, in whole packets.
        return [[pcm + (bytes(-len(pcm) % (2 * PACKET_SAMPLES)) if self.late else b"")]]


@dataclass(slots=True)
class Sent:
    """What the satellite sent on one way; `size`: bytes."""

    utterances: int = 0
    size: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def arrived(self, way: Way, clip: Clip) -> list[bytes]:
        """What the service decodes of a recording: 16-bit mono at `SAMPLE_RATE`."""
        decoded = []
        before_s = time.process_time()
        for pieces in way.utterances(clip):
            encoder = make_encoder(way.codec, way.kbps)
            data = b"".join([*map(encoder.push, pieces), encoder.finish()])
            audio = EncodedAudio(AudioFormat(encoder.codec), data)
            decoded.append(sounds.pcm(decode(audio, MAX_S).samples))
            self.utterances += 1
            self.size += len(data)
            self.seconds += len(decoded[-1]) / 2 / SAMPLE_RATE
        self.cpu_s += time.process_time() - before_s
        return decoded


def in_a_quiet_room(clip: Clip) -> bytes:
    """A recording with a quiet room before, under and behind it."""
    spoken = sounds.from_pcm(clip.pcm)
    before, after = (int(seconds * SAMPLE_RATE) for seconds in (BEFORE_S, AFTER_S))
    rng = np.random.default_rng(SEED)
    room = rng.normal(0.0, 10 ** (ROOM_DBFS / 20), before + len(spoken) + after)
    room[before : before + len(spoken)] += spoken
    return sounds.pcm(room.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Cut:
    """What the satellite sends as one utterance; seconds of the room's sound.

    `marked_s`: when it sent the start mark.
    """

    start_s: float
    marked_s: float
    end_s: float
    frames: tuple[bytes, ...]

    def shares_s(self, one: Spoken | Noise) -> float:
        """Seconds that it has in common with something."""
        return max(min(self.end_s, one.end_s) - max(self.start_s, one.start_s), 0.0)


def cuts(pcm: bytes, config: SatelliteConfig) -> list[Cut]:
    """Everything that a satellite that always listens sends of this sound."""
    cleanup, activity = Cleanup(config.cleanup), VoiceActivity(config.vad)
    segmenter = Segmenter(config.vad)
    found: list[Cut] = []
    opened: list[float] = []
    frames: list[bytes] = []

    def take(output: SegmenterOutput, now_s: float) -> None:
        if output.opened_at is not None:
            opened[:] = output.opened_at, now_s
        frames.extend(output.frames)
        if output.closed is not None:
            start_s, marked_s = opened
            found.append(Cut(start_s, marked_s, start_s + len(frames) * FRAME_S, tuple(frames)))
            frames.clear()

    count = len(pcm) // FRAME_BYTES
    for number in range(count):
        clean = cleanup.process(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES])
        heard = activity.process(clean)
        at_s = number * FRAME_S
        frame = VadFrame(clean, at_s, heard.begins, heard.goes_on, heard.sounds)
        take(segmenter.push(frame, ListenState.ACTIVE), at_s + FRAME_S)
    take(segmenter.cut(CloseReason.RELEASED), count * FRAME_S)
    return found


# Words ------------------------------------------------------------------------------------------


class Hearer:
    """`stt-mqtt transcribe` over what arrives, all at once. The same samples are heard once."""

    def __init__(self, folder: Path, transcribe: Transcribe = transcribed) -> None:
        self._folder = folder
        self._transcribe = transcribe
        self._texts: dict[Path, str] = {}

    def files(self, utterances: Sequence[bytes]) -> list[Path]:
        """What arrives of a recording, as files that will be heard."""
        return [self._file(pcm) for pcm in utterances]

    def hear(self) -> None:
        """Have everything heard that was taken."""
        new = sorted(file for file, text in self._texts.items() if text == UNHEARD)
        say(f"stt-mqtt transcribe hears {len(new)} files")
        self._texts |= self._transcribe(new, "--language", "en")
        for file in new:
            file.unlink()

    def judge(self, clips: Sequence[Clip], arrived: Sequence[Sequence[Path]]) -> Judged:
        """How well each recording was heard; pieces of it are joined."""
        texts = (" ".join(self._texts[file] for file in some).strip() for some in arrived)
        return [judge(clip, text) for clip, text in zip(clips, texts, strict=True)]

    def _file(self, pcm: bytes) -> Path:
        file = self._folder / f"{hashlib.sha256(pcm).hexdigest()[:20]}.wav"
        if file not in self._texts:
            speech.write_wav(file, pcm)
            self._texts[file] = UNHEARD
        return file


def judge(clip: Clip, text: str) -> tuple[int, int, bool]:
    """Wrong words, words said, and whether every word, or every slot of an order, is right."""
    if clip.slots:
        return 0, 0, scoring.slots_right(clip.slots, text)
    wrong, words = scoring.word_errors(clip.text, text)
    return wrong, words, wrong == 0


def compared(clips: Sequence[Clip], ours: Judged, theirs: Judged) -> dict[str, Any]:
    """Word error rate and share of right recordings, and how both differ from another way's."""
    clusters = [clip.speaker or clip.id for clip in clips]
    pairs = list(zip(ours, theirs, strict=True))
    wer = [[float(one[0]), float(one[1]), float(other[0]), float(other[1])] for one, other in pairs]
    right = [[float(one[2]), 1.0, float(other[2]), 1.0] for one, other in pairs]
    differences = [
        scoring.bootstrap(list(zip(*rows, strict=True)), clusters, scoring.difference_of_shares)
        for rows in (wer, right)
    ]
    return {
        "right": sum(one[2] for one in ours),
        "wer": wer_of(ours),
        "wer_less": differences[0].limits,
        "right_less": differences[1].limits,
        "gained": sum(one[2] and not other[2] for one, other in pairs),
        "lost": sum(other[2] and not one[2] for one, other in pairs),
    }


def wer_of(judged: Judged) -> float | None:
    """The word error rate over all as one; None without words."""
    words = sum(one[1] for one in judged)
    return sum(one[0] for one in judged) / words if words else None


def codecs_and_cuts(clips: Sequence[Clip], hearer: Hearer, quick: bool) -> Later:
    """Each codec beside PCM; what is cut beside the whole room; Opus behind it beside PCM there."""
    default = SatelliteConfig().opus_kbps
    whole, room, cut = "PCM", "room, whole, PCM", "room, cut, PCM"
    ways = {
        whole: Way(whole, Codec.PCM_S16LE),
        "PCM, 6.5 ms late": Way(whole, Codec.PCM_S16LE, late=LATE_SAMPLES),
        "FLAC": Way(whole, Codec.FLAC),
        **{
            f"Opus {kbps}": Way(whole, Codec.OPUS, kbps) for kbps in ((default,) if quick else KBPS)
        },
        room: Way(room, Codec.PCM_S16LE, room=True),
        cut: Way(room, Codec.PCM_S16LE, cut=True),
        f"room, cut, Opus {default}": Way(cut, Codec.OPUS, default, cut=True),
    }
    sent = {name: Sent() for name in ways}
    taken = {
        name: [hearer.files(sent[name].arrived(way, clip)) for clip in clips]
        for name, way in ways.items()
    }

    def figures() -> dict[str, Any]:
        judged = {name: hearer.judge(clips, some) for name, some in taken.items()}
        return {
            name: {
                "utterances": sent[name].utterances,
                "bytes": sent[name].size,
                "bytes_per_s": round(sent[name].size / max(sent[name].seconds, 1e-9)),
                "cpu_ms_per_s": round(1000 * sent[name].cpu_s / max(sent[name].seconds, 1e-9), 2),
                **compared(clips, judged[name], judged[way.beside]),
            }
            for name, way in ways.items()
        }

    return figures


# Clean-up ---------------------------------------------------------------------------------------


def scene(clip: Clip, noise: Sound, snr_db: float | None, dbfs: float | None) -> Sound:
    """The clip after some seconds of its noise, at a level of the speech, as recorded with None."""
    spoken = sounds.from_pcm(clip.pcm)
    spoken = spoken if dbfs is None else at_level(spoken, dbfs)
    lead, tail = int(LEAD_S * SAMPLE_RATE), int(HANGOVER_S * SAMPLE_RATE) + FRAME_BYTES
    heard = np.concatenate([np.zeros(lead), spoken, np.zeros(tail)]).astype(np.float32)
    rng = np.random.default_rng(SEED)
    heard += rng.normal(0, 10 ** (MICROPHONE_DBFS / 20), len(heard)).astype(np.float32)
    if snr_db is not None:
        heard += at_level(np.resize(noise, len(heard)), level_dbfs(spoken) - snr_db)
    return heard / np.float32(max(1.0, float(np.abs(heard).max())))


def cleaned(sound: Sound, config: CleanupConfig) -> bytes:
    """What a satellite sends of a scene, the clip with some of the room around it."""
    pcm, cleanup = sounds.pcm(sound), Cleanup(config)
    frames = range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)
    clean = b"".join(cleanup.process(pcm[at : at + FRAME_BYTES]) for at in frames)
    return clean[2 * int((LEAD_S - PRE_ROLL_S) * SAMPLE_RATE) :]


def cleanups(clips: Sequence[Clip], noises: Sequence[Clip], hearer: Hearer, quick: bool) -> Later:
    """Word error rates behind each clean-up: clean, in noise, and of quiet voices."""
    kinds = [noise for noise in noises if noise.corpus.startswith(NOISES)]
    beds = [sounds.from_pcm(noise.pcm) for noise in kinds]
    beds.append(sounds.pink(np.random.default_rng(SEED), 10.0))
    conditions: dict[str, tuple[float | None, float | None]] = {"as recorded": (None, None)}
    conditions |= {f"{snr} dB SNR": (snr, None) for snr in (SNRS_DB[1:2] if quick else SNRS_DB)}
    conditions |= {f"{level} dBFS": (None, level) for level in (() if quick else LEVELS_DBFS)}
    scenes = {
        name: [
            scene(clip, beds[number % len(beds)], snr_db, dbfs) for number, clip in enumerate(clips)
        ]
        for name, (snr_db, dbfs) in conditions.items()
    }
    taken = {}
    for (name, config), (condition, heard) in product(CLEANUPS.items(), scenes.items()):
        taken[name, condition] = [hearer.files([cleaned(sound, config)]) for sound in heard]

    def figures() -> dict[str, Any]:
        judged = {key: hearer.judge(clips, some) for key, some in taken.items()}
        every = {
            name: [one for condition in scenes for one in judged[name, condition]]
            for name in CLEANUPS
        }
        return {
            name: {
                "conditions": {one: wer_of(judged[name, one]) for one in conditions},
                **compared(list(clips) * len(conditions), every[name], every["nothing"]),
            }
            for name in CLEANUPS
        }

    return figures


# The household ----------------------------------------------------------------------------------


def in_rooms(rooms: Sequence[Room]) -> dict[str, Any]:
    """How well the utterances of the rooms are found, and what else is taken for one."""
    by_room = [(room, cuts(room.pcm, SatelliteConfig())) for room in rooms]
    strays = [
        _what_is_heard(cut, room.noises)
        for room, found in by_room
        for cut in found
        if not any(cut.shares_s(one) for one in room.spoken)
    ]
    said = [(one, [cut for cut in found if cut.shares_s(one)])
            for room, found in by_room for one in room.spoken]  # fmt: skip
    seconds = sum(room.seconds for room in rooms)
    sent_s = sum(cut.end_s - cut.start_s for _, found in by_room for cut in found)
    return {
        "minutes": round(seconds / 60, 1),
        "utterances": len(said),
        "found": sum(is_found(one, held) for one, held in said),
        "clipped_onsets": sum(bool(held) and held[0].start_s > one.start_s for one, held in said),
        "clipped_ends": sum(bool(held) and held[-1].end_s < one.end_s for one, held in said),
        "split": sum(len(held) > 1 for _, held in said),
        "without_speech": dict(Counter(strays).most_common()),
        "speech_share": sum(one.end_s - one.start_s for one, _ in said) / seconds,
        "sent_share": sent_s / seconds,
    }


def is_found(one: Spoken, held: Sequence[Cut]) -> bool:
    """Whether enough of an utterance was sent."""
    return sum(cut.shares_s(one) for cut in held) >= FOUND_SHARE * (one.end_s - one.start_s)


def _what_is_heard(cut: Cut, noises: Sequence[Noise]) -> str:
    heard = max(noises, key=cut.shares_s, default=None)
    return heard.label if heard is not None and cut.shares_s(heard) else "the room itself"


# The benchmark ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The codecs, what is cut, the household, the clean-up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick:
            spoken, noises = household.quick_material(folder)
            spoken = spoken[:2]
            order = Clip("order", "orders", "", folder, spoken[1].pcm, "", {"all": spoken[1].text})
            clips, sentences = [spoken[0], order], spoken[:1]
            rooms = household.make_household(spoken, noises, 0.2)[:1]
        else:
            spoken, noises = speech.recordings(), speech.noises()
            clips, sentences = [*spoken, *speech.orders()], _sentences(spoken)
            rooms = household.make_household(spoken, noises)
        if options.clips is not None:
            draw = random.Random(SEED)
            clips = draw.sample(clips, min(options.clips, len(clips)))
            sentences = draw.sample(sentences, min(options.clips, len(sentences)))
        hearer = Hearer(folder)
        ways = codecs_and_cuts(clips, hearer, options.quick)
        cleanup = cleanups(sentences, noises, hearer, options.quick)
        hearer.hear()
        return {
            "recordings": len(clips),
            "orders": sum(bool(clip.slots) for clip in clips),
            "seconds": round(sum(clip.seconds for clip in clips)),
            "cleanup_recordings": len(sentences),
            "default": f"{SatelliteConfig().codec.value} at {SatelliteConfig().opus_kbps} kbit/s",
            "ways": ways(),
            "rooms": in_rooms(rooms),
            "cleanup": cleanup(),
        }


def _sentences(clips: Sequence[Clip]) -> list[Clip]:
    """All sentences, and some of the single words."""
    words = [clip for clip in clips if clip.corpus.startswith(SINGLE_WORDS)]
    some = random.Random(SEED).sample(words, min(SINGLE_WORD_CLIPS, len(words)))
    return [*(clip for clip in clips if clip not in words), *some]


def lost(data: Mapping[str, Any]) -> list[str]:
    """Recordings that FLAC changed: it loses nothing."""
    flac = data["ways"]["FLAC"]
    return ["words through FLAC"] if flac["gained"] or flac["lost"] else []


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rooms = data["rooms"]
    first = next(iter(data["cleanup"].values()))
    cleanup = [
        [
            name,
            *(report.number("{:.1%}", value) for value in row["conditions"].values()),
            report.number("{:.1%}", row["wer"]),
            report.points(row["wer_less"]),
        ]
        for name, row in data["cleanup"].items()
    ]
    found = [
        ["utterances found", f"{rooms['found']} of {rooms['utterances']}"],
        ["with a clipped onset", rooms["clipped_onsets"]],
        ["with a clipped end", rooms["clipped_ends"]],
        ["in two or more pieces", rooms["split"]],
        ["sent without speech", sum(rooms["without_speech"].values())],
        ["share of the sound that is speech", f"{rooms['speech_share']:.1%}"],
        ["share of the sound that is sent", f"{rooms['sent_share']:.1%}"],
    ]
    return [
        "# What the satellite costs",
        "",
        f"{data['recordings']} recordings ({data['seconds']} s), {data['orders']} of them orders. "
        "A sentence is right with every word, an order with every slot. In brackets: 95 % "
        "intervals of the difference (bootstrap over speakers). Gained and lost: recordings that "
        "are right on this way only, or on the other only. A satellite sends "
        f"{data['default']} unless it is told otherwise.",
        "",
        "## The codec alone",
        "",
        "Beside PCM. A shift by the 6.5 ms that libopus is late changes nothing that can be heard: "
        "what it gains and loses is chance. CPU: coding and decoding.",
        "",
        *_ways({name: row for name, row in data["ways"].items() if not name.startswith("room")}),
        "",
        "## What the satellite sends",
        "",
        "Each recording in a quiet room, heard as a whole, or as clean-up, detector and segmenter "
        "of the satellite send it (cut). Cut PCM is compared with the whole room, cut Opus with "
        "cut PCM.",
        "",
        *_ways({name: row for name, row in data["ways"].items() if name.startswith("room")}),
        "",
        f"Over {rooms['minutes']:g} minutes of a household an utterance is found if half of it or "
        "more was sent, and clipped if what was sent begins after its start or ends before its "
        "end.",
        "",
        *report.table(["", ""], found),
        "",
        f"Without speech, by what was heard: {report.counts(rooms['without_speech'])}.",
        "",
        "## The clean-up",
        "",
        f"Word error rates of {data['cleanup_recordings']} recordings: as they are, in household "
        "noise, and as quiet as voices far away. The difference is to `nothing`, over all "
        "conditions, with its 95 % interval; below zero is better.",
        "",
        *report.table(["clean-up", *first["conditions"], "all", "difference, points"], cleanup),
    ]


def _ways(rows: Mapping[str, Any]) -> Iterator[str]:
    header = ["", "bytes/s", "MB", "right", "points", "gained, lost", "WER", "points",
              "CPU ms per s"]  # fmt: skip
    yield from report.table(
        header,
        [
            [
                name,
                row["bytes_per_s"],
                f"{row['bytes'] / 1e6:.2f}",
                row["right"],
                report.points(row["right_less"]),
                f"{row['gained']}, {row['lost']}",
                report.number("{:.1%}", row["wer"]),
                report.points(row["wer_less"]),
                f"{row['cpu_ms_per_s']:.1f}",
            ]
            for name, row in rows.items()
        ],
    )


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument("--clips", metavar="N", type=int, help="only so many, by chance")
    sys.exit(report.run(report.Benchmark("satellite", measure, page, lost), arguments))
