"""What codecs, voice detector and clean-up of the satellite cost: words, orders, bytes, CPU time.

The program's own code encodes and decodes recordings, cuts them out of a quiet room, or cleans them
in noise. `stt-mqtt transcribe` then hears them with its defaults. The voice detector also hears
minutes of a household.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import household, report, scoring, sounds, speech
from benchmarks.harness import say, seconds_of, transcribed
from benchmarks.household import Room, Spoken
from benchmarks.sounds import Sound, at_level, level_dbfs
from benchmarks.speech import Clip
from stt_mqtt.audio.activity import VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.config.satellite import CleanupConfig
from stt_mqtt.satellite import segmenter
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

SEED = 7
MAX_S = 60.0
CONFIG = SatelliteConfig()
BEFORE_S, AFTER_S = 2.0, 1.5
ROOM_DBFS = -70.0
"""Level of the quiet room around a recording."""
KBPS = (16, 24, 32, 48)
FOUND_SHARE = 0.5
"""Of an utterance that must have been sent for it to be found."""

LEAD_S, TAIL_S = 3.0, 0.66
"""Of noise around the speech: a satellite listens all day, and its clean-up knows the noise."""
PRE_ROLL_S = 0.3
SNRS_DB = (20, 10, 5)
LEVELS_DBFS = (-30, -40, -50)
MICROPHONE_DBFS = -80.0
NOISES = ("doing the dishes", "rain", "music/sfx: ", "exercise bike", "background noise")
"""How the labels of noises begin in which somebody may speak."""
SINGLE_WORDS = "gsc"
SINGLE_WORD_CLIPS = 60
CLEANUPS = {
    "no clean-up": CleanupConfig(high_pass=False),
    "high-pass (the default)": CleanupConfig(),
    "high-pass, noise suppression": CleanupConfig(noise_suppression=True),
    "high-pass, automatic gain": CleanupConfig(auto_gain=True),
}

Process: TypeAlias = Callable[[bytes], list[tuple[bytes, int]]]
"""From 16-bit mono to the utterances that arrive, each with the bytes that were sent."""
Score: TypeAlias = tuple[int, int, bool]
"""Of a recording: wrong words, words said (both 0 of an order), and whether it was right."""


# What the satellite does ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Segment:
    """What the satellite sends as one utterance; seconds of the room's sound."""

    start_s: float
    end_s: float
    frames: tuple[bytes, ...]

    def overlap_s(self, one: Spoken) -> float:
        """Seconds that it has in common with something that is said."""
        return max(min(self.end_s, one.end_s) - max(self.start_s, one.start_s), 0.0)


def segments(pcm: bytes) -> list[Segment]:
    """Everything that a satellite with its defaults, which always listens, sends of 16-bit mono."""
    cleanup, activity = Cleanup(CONFIG.cleanup), VoiceActivity(CONFIG.vad)
    cutter, outputs = segmenter.Segmenter(CONFIG.vad), []
    for number in range(len(pcm) // FRAME_BYTES):
        clean = cleanup.process(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES])
        heard = activity.process(clean)
        flags = heard.begins, heard.goes_on, heard.sounds
        frame = segmenter.VadFrame(clean, number * FRAME_S, *flags)
        outputs.append(cutter.push(frame, segmenter.ListenState.ACTIVE))
    outputs.append(cutter.cut(segmenter.CloseReason.RELEASED))
    found, start_s, frames = [], 0.0, list[bytes]()
    for output in outputs:
        start_s = start_s if output.opened_at is None else output.opened_at
        frames.extend(output.frames)
        if output.closed is not None:
            found.append(Segment(start_s, start_s + len(frames) * FRAME_S, tuple(frames)))
            frames.clear()
    return found


def coded(pcm: bytes, codec: Codec, kbps: int = 0, cut: bool = False) -> list[tuple[bytes, int]]:
    """A `Process`: encoded and decoded; with `cut` only what the voice detector lets through."""
    arrived = []
    for pieces in [one.frames for one in segments(pcm)] if cut else [(pcm,)]:
        encoder = make_encoder(codec, kbps)
        data = b"".join([*map(encoder.push, pieces), encoder.finish()])
        audio = EncodedAudio(AudioFormat(encoder.codec), data)
        arrived.append((sounds.pcm(decode(audio, MAX_S).samples), len(data)))
    return arrived


def cleaned(pcm: bytes, config: CleanupConfig) -> list[tuple[bytes, int]]:
    """A `Process`: a scene behind a clean-up, from shortly before the speech on."""
    cleanup = Cleanup(config)
    frames = range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)
    clean = b"".join(cleanup.process(pcm[at : at + FRAME_BYTES]) for at in frames)
    heard = clean[2 * int((LEAD_S - PRE_ROLL_S) * SAMPLE_RATE) :]
    return [(heard, len(heard))]


# What it hears ----------------------------------------------------------------------------------


def in_a_quiet_room(pcm: bytes) -> bytes:
    """16-bit mono with a quiet room before, under and behind it."""
    spoken = sounds.from_pcm(pcm)
    before, after = (int(seconds * SAMPLE_RATE) for seconds in (BEFORE_S, AFTER_S))
    rng = np.random.default_rng(SEED)
    room = rng.normal(0.0, 10 ** (ROOM_DBFS / 20), before + len(spoken) + after)
    room[before : before + len(spoken)] += spoken
    return sounds.pcm(room.astype(np.float32))


def scene(clip: Clip, noise: Sound, snr_db: float | None, dbfs: float | None) -> bytes:
    """The clip after `LEAD_S` of noise, 16-bit mono. None: without noise; at its own level."""
    spoken = sounds.from_pcm(clip.pcm)
    spoken = spoken if dbfs is None else at_level(spoken, dbfs)
    lead, tail = (np.zeros(round(seconds * SAMPLE_RATE)) for seconds in (LEAD_S, TAIL_S))
    heard = np.concatenate([lead, spoken, tail]).astype(np.float32)
    rng = np.random.default_rng(SEED)
    heard += rng.normal(0, 10 ** (MICROPHONE_DBFS / 20), len(heard)).astype(np.float32)
    if snr_db is not None:
        heard += at_level(np.resize(noise, len(heard)), level_dbfs(spoken) - snr_db)
    return sounds.pcm(heard / np.float32(max(1.0, float(np.abs(heard).max()))))


def scenes(clips: Sequence[Clip], noises: Sequence[Clip], quick: bool) -> dict[str, list[bytes]]:
    """All clips as recorded, in household noise, and at lower levels, by the condition's name."""
    beds = [sounds.from_pcm(one.pcm) for one in noises if one.corpus.startswith(NOISES)]
    beds.append(sounds.pink(np.random.default_rng(SEED), 10.0))
    conditions: dict[str, tuple[float | None, float | None]] = {"as recorded": (None, None)}
    conditions |= {f"{snr} dB SNR": (snr, None) for snr in (SNRS_DB[1:2] if quick else SNRS_DB)}
    conditions |= {f"{level} dBFS": (None, level) for level in (() if quick else LEVELS_DBFS)}
    pairs = [(clip, beds[number % len(beds)]) for number, clip in enumerate(clips)]
    return {name: [scene(*pair, *levels) for pair in pairs] for name, levels in conditions.items()}


# Costs and words --------------------------------------------------------------------------------


def costs(process: Process, recordings: Sequence[bytes], folder: Path) -> dict[str, Any]:
    """CPU time, bytes, and under `files`, by recording, the WAV files of what arrives."""
    files, size, sent_s, cpu_s = [], 0, 0.0, 0.0
    for recording in recordings:
        before_s = time.process_time()
        arrived = process(recording)
        cpu_s += time.process_time() - before_s
        # The same samples are the same file, and are heard once.
        files.append([folder / f"{hashlib.sha256(pcm).hexdigest()[:20]}.wav" for pcm, _ in arrived])
        for file, (pcm, sent) in zip(files[-1], arrived, strict=True):
            speech.write_wav(file, pcm)
            size += sent
            sent_s += seconds_of(pcm)
    return {
        "utterances": sum(map(len, files)),
        "bytes": size,
        "bytes_per_s": round(size / max(sent_s, 1e-9)),
        "cpu_ms_per_s": round(1000 * cpu_s / sum(map(seconds_of, recordings)), 2),
        "files": files,
    }


def judge(
    rows: Mapping[str, dict[str, Any]], clips: Sequence[Clip], texts: Mapping[Path, str]
) -> dict[str, list[Score]]:
    """Replace `files` in each row with how well the clips were heard beside the first row."""
    found: dict[str, list[Score]] = {}
    for name, row in rows.items():
        heard = (" ".join(texts[file] for file in files).strip() for files in row.pop("files"))
        found[name] = [score(clip, text) for clip, text in zip(clips, heard, strict=True)]
        row.update(compared(clips, found[name], next(iter(found.values()))))
    return found


def score(clip: Clip, text: str) -> Score:
    """A sentence is right if every word is, an order if every slot is."""
    if clip.slots:
        return 0, 0, scoring.slots_right(clip.slots, text)
    wrong, words = scoring.word_errors(clip.text, text)
    return wrong, words, wrong == 0


def compared(
    clips: Sequence[Clip], ours: Sequence[Score], baseline: Sequence[Score]
) -> dict[str, Any]:
    """Word error rate and right recordings; how the share of each differs from the baseline's."""
    clusters = [clip.speaker or clip.id for clip in clips]
    wrong, words, right = zip(*ours, strict=True)
    base_wrong, base_words, base_right = zip(*baseline, strict=True)
    each = [1] * len(clips)
    estimate = partial(scoring.bootstrap, clusters=clusters, of=scoring.difference_of_shares)
    return {
        "right": sum(right),
        "right_difference": estimate([right, each, base_right, each]).limits,
        "wer": wer_of(ours),
        "wer_difference": estimate([wrong, words, base_wrong, base_words]).limits,
    }


def wer_of(found: Sequence[Score]) -> float | None:
    """The word error rate over all as one; None without words."""
    words = sum(one[1] for one in found)
    return sum(one[0] for one in found) / words if words else None


def utterances_found(rooms: Sequence[Room]) -> dict[str, Any]:
    """How many utterances of the rooms are found, how well, and what else is sent."""
    by_room = [(room.spoken, segments(room.pcm)) for room in rooms]
    said = [
        (one, [segment for segment in sent if segment.overlap_s(one)])
        for spoken, sent in by_room
        for one in spoken
    ]
    return {
        "minutes": round(sum(room.seconds for room in rooms) / 60, 1),
        "utterances": len(said),
        "found": sum(is_found(one, held) for one, held in said),
        "clipped_onsets": sum(bool(held) and held[0].start_s > one.start_s for one, held in said),
        "clipped_ends": sum(bool(held) and held[-1].end_s < one.end_s for one, held in said),
        "split": sum(len(held) > 1 for _, held in said),
        "without_speech": sum(
            not any(map(segment.overlap_s, spoken)) for spoken, sent in by_room for segment in sent
        ),
    }


def is_found(one: Spoken, held: Sequence[Segment]) -> bool:
    """Whether enough of an utterance was sent."""
    sent_s = sum(segment.overlap_s(one) for segment in held)
    return sent_s >= FOUND_SHARE * (one.end_s - one.start_s)


# The benchmark ----------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Codecs, voice detector and clean-up, then the household."""
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
        heard = folder / "heard"
        heard.mkdir()
        pcm, opus, kbps = Codec.PCM_S16LE, Codec.OPUS, CONFIG.opus_kbps
        alone = {"PCM": partial(coded, codec=pcm), "FLAC": partial(coded, codec=Codec.FLAC)}
        for rate in (kbps,) if options.quick else KBPS:
            alone[f"Opus {rate}"] = partial(coded, codec=opus, kbps=rate)
        in_room = {
            "room, whole, PCM": partial(coded, codec=pcm),
            "room, cut, PCM": partial(coded, codec=pcm, cut=True),
            f"room, cut, Opus {kbps}": partial(coded, codec=opus, kbps=kbps, cut=True),
        }
        recordings = [clip.pcm for clip in clips]
        of_alone = {name: costs(process, recordings, heard) for name, process in alone.items()}
        recordings = [in_a_quiet_room(clip.pcm) for clip in clips]
        of_room = {name: costs(process, recordings, heard) for name, process in in_room.items()}
        conditions = scenes(sentences, noises, options.quick)
        recordings = list(chain(*conditions.values()))
        cleanup = {
            name: costs(partial(cleaned, config=config), recordings, heard)
            for name, config in CLEANUPS.items()
        }
        files = sorted(heard.iterdir())
        say(f"stt-mqtt transcribe hears {len(files)} files")
        texts = transcribed(files, "--language", "en")
    judge(of_alone, clips, texts)
    judge(of_room, clips, texts)
    each = len(sentences)
    for name, found in judge(cleanup, sentences * len(conditions), texts).items():
        cleanup[name]["conditions"] = {
            condition: wer_of(found[number * each :][:each])
            for number, condition in enumerate(conditions)
        }
    return {
        "recordings": len(clips),
        "orders": sum(bool(clip.slots) for clip in clips),
        "seconds": round(sum(clip.seconds for clip in clips)),
        "cleanup_recordings": len(sentences),
        "codecs": of_alone | of_room,
        "cleanup": cleanup,
        "rooms": utterances_found(rooms),
    }


def _sentences(clips: Sequence[Clip]) -> list[Clip]:
    """All sentences, and some of the single words."""
    words = [clip for clip in clips if clip.corpus.startswith(SINGLE_WORDS)]
    some = random.Random(SEED).sample(words, min(SINGLE_WORD_CLIPS, len(words)))
    return [*(clip for clip in clips if clip not in words), *some]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    codecs = [
        [name, row["bytes_per_s"], f"{row['bytes'] / 1e6:.2f}", *_words(row)]
        for name, row in data["codecs"].items()
    ]
    cleanups = [
        [name, *_words(row), *(report.number("{:.1%}", wer) for wer in row["conditions"].values())]
        for name, row in data["cleanup"].items()
    ]
    columns = ["CPU ms/s", "right", "difference", "WER", "difference"]
    conditions = data["cleanup"]["no clean-up"]["conditions"]
    rooms = data["rooms"]
    found = ["utterances", "found", "start clipped", "end clipped", "split", "without speech"]
    keys = ("utterances", "found", "clipped_onsets", "clipped_ends", "split", "without_speech")
    return [
        "# Satellite",
        "",
        f"{data['recordings']} recordings ({data['seconds']} s), {data['orders']} of them orders. "
        "A sentence is right if every word is, an order if every slot is. The difference is to "
        "the first row of the same kind, in percentage points, with its 95 % interval (bootstrap "
        "over speakers).",
        "",
        "In the rows *room* each recording stands in a quiet room. *Cut* is what high-pass, voice "
        "detector and segmenter of the satellite send of it. CPU: these, encoding and decoding, "
        "for each second of sound at the microphone; bytes: for each second that is sent.",
        "",
        *report.table(["", "bytes/s", "MB", *columns], codecs),
        "",
        f"The clean-up, with {data['cleanup_recordings']} recordings as they are, in household "
        "noise, and at lower levels; then the word error rate of each condition. CPU: the "
        "clean-up alone.",
        "",
        *report.table(["clean-up", *columns, *conditions], cleanups),
        "",
        f"{rooms['minutes']:g} minutes of a household. An utterance is found if at least half of "
        "it was sent, and split if it was sent in several pieces. Its start or end is clipped if "
        "what was sent begins later or ends earlier. *Without speech*: what else was sent.",
        "",
        *report.table(found, [[rooms[key] for key in keys]]),
    ]


def _words(row: Mapping[str, Any]) -> list[object]:
    """CPU time and words, as in both tables."""
    return [
        f"{row['cpu_ms_per_s']:.1f}",
        row["right"],
        report.points(row["right_difference"]),
        report.number("{:.1%}", row["wer"]),
        report.points(row["wer_difference"]),
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("satellite", measure, page)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
