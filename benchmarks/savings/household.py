"""Minutes of household audio in four rooms, made from recorded people and noises.

A room is its own tone all the time, people who speak now and then, noises between what they say,
and rain under some of it. One seed makes one household, to the byte.
"""

from __future__ import annotations

import itertools
import json
import math
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks import speech
from benchmarks.savings.labels import Speech, label
from stt_mqtt.types import SAMPLE_RATE

Audio = NDArray[np.float64]

SEED = 5
UTTERANCES_PER_MINUTE = 2.8
PAUSE_S = (4.0, 40.0)
SPEECH_DBFS = (-30.0, -18.0)
PEAK = 0.9

SENTENCES = {
    "speech_to_phrase_en", "an4", "picovoice_wakeword", "pocketsphinx", "rhasspy_lamp",
    "librivox_sense", "ljspeech32", "jfk", "samples",
}  # fmt: skip
WORDS = {"gsc_v001_sample"}
WORD_SHARE = 0.35
SAID_AT_HOME = {
    "on", "off", "up", "down", "stop", "go", "yes", "no", "left", "right",
    "one", "two", "three", "four", "five", "six",
}  # fmt: skip
NOT_SAID = {"snowboy"}
MAX_CLIP_S = 15.0
HEAD_S = {"speech_to_phrase_en": 0.42}
"""These recordings begin with the end of a wake word."""
MIN_SNR_DB = 21.0
FREE_S = 0.03
"""A word that is nearer to the end of its recording is cut off there."""
AROUND_S = 0.25
FADE_S = 0.05
EDGE_FADE_S = 0.005

EVENTS_PER_MINUTE = 1
EVENT_S = 5.0
EVENT_AWAY_S = 1.2
"""Between an event and what is said before and after it."""
EVENTS: Mapping[str, tuple[float, float]] = {
    "dog bark": (-38, -24),
    "baby cry": (-38, -26),
    "clock tick": (-52, -42),
    "person sneeze": (-38, -24),
    "fire crackling": (-46, -36),
    "rooster": (-48, -36),
    "helicopter": (-46, -36),
    "chainsaw": (-50, -40),
    "doing the dishes": (-40, -28),
    "exercise bike": (-44, -34),
    "music/sfx: ambi_drone": (-44, -32),
    "music/sfx: ambi_piano": (-44, -32),
    "music/sfx: loop_amen_full": (-44, -32),
    "music/sfx: loop_tabla": (-44, -32),
    "music/sfx: vinyl_hiss": (-50, -42),
}
"""Level of each where it is loudest, in dB of full scale; what is outside comes through walls."""
LOUDEST_S = 0.25
RAIN = "rain"
RAIN_BELOW_SPEECH_DB = (15.0, 21.0)
RAIN_AROUND_S = 3.0
RAIN_FADE_S = 1.0
RAIN_SEAM_S = 0.5

TONES = {
    "kitchen": (-57.0, (50.0, 100.0, 150.0, 200.0)),
    "living_room": (-58.0, ()),
    "bedroom": (-62.0, ()),
    "office": (-55.0, (118.0,)),
}
"""Level of each room's own tone in dB of full scale, and the hum of its fridge or its fan."""
HUM_DBFS = -60.0
TONE_S = 20
TONE_LOWEST_HZ = 40.0


@dataclass(frozen=True)
class Spoken:
    """What somebody says, and when: where the speech itself starts and ends in its room."""

    clip_id: str
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Noise:
    """What else is heard, and when."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Room:
    """A room: its audio, 16 kHz mono, and what is in it, in the order of time."""

    name: str
    samples: NDArray[np.int16]
    spoken: tuple[Spoken, ...]
    noises: tuple[Noise, ...]


@dataclass(frozen=True)
class _Clip:
    id: str
    text: str
    samples: Audio
    speech: Speech


def make_household(folder: Path, minutes: float = 10, seed: int = SEED) -> tuple[Room, ...]:
    """Four rooms, so many minutes each, of the recordings that `folder` has a manifest of.

    Raises ValueError where what is to be said does not fit into the time.
    """
    rng = np.random.default_rng(seed)
    each = max(1, round(UTTERANCES_PER_MINUTE * minutes))
    clips = _chosen(folder, each * len(TONES), rng)
    noises = _noises(folder)
    return tuple(
        _Builder(name, minutes * 60, np.random.default_rng((seed, number))).build(
            clips[number * each :][:each], noises
        )
        for number, name in enumerate(TONES)
    )


def write_wavs(rooms: Sequence[Room], folder: Path) -> dict[str, Path]:
    """Write the audio of each room to `folder`; its file by its name."""
    files = {room.name: folder / f"{room.name}.wav" for room in rooms}
    for room in rooms:
        _write_wav(files[room.name], room.samples)
    return files


def samples_folder(folder: Path) -> Path:
    """Fill a folder with the demo's samples and made noises, for where no recordings are."""
    clips = speech.samples(folder)
    rows = [
        {"id": clip.id, "path": clip.file.name, "text": clip.text, "corpus": "samples"}
        | {"kind": "command", "lang": "en", "duration_s": clip.seconds, "quality": []}
        for clip in clips
    ]
    rng = np.random.default_rng(SEED)
    ticks = np.zeros(4 * SAMPLE_RATE)
    ticks[:: SAMPLE_RATE // 2] = 0.5
    made = {"clock tick": ticks, RAIN: 0.1 * rng.standard_normal(4 * SAMPLE_RATE)}
    for name, audio in made.items():
        _write_wav(folder / f"{name}.wav", _pcm(audio))
    noises = [{"id": name, "label": name, "path": f"{name}.wav"} for name in made]
    for file, lines in (("manifest.jsonl", rows), ("noise_manifest.jsonl", noises)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


class _Builder:
    """Puts one room together."""

    def __init__(self, name: str, seconds: float, rng: Generator) -> None:
        self.name = name
        self.rng = rng
        self.audio = _tone(name, round(seconds * SAMPLE_RATE), rng)
        self.spoken: list[Spoken] = []
        self.noises: list[Noise] = []
        self.levels: list[float] = []

    def build(self, clips: Sequence[_Clip], noises: Mapping[str, Sequence[Audio]]) -> Room:
        self._speak(clips)
        self._make_noises(noises)
        self._rain(noises[RAIN])
        self.noises.sort(key=lambda noise: noise.start_s)
        return Room(self.name, _pcm(self.audio), tuple(self.spoken), tuple(self.noises))

    def _speak(self, clips: Sequence[_Clip]) -> None:
        said_s = sum(clip.speech.end_s - clip.speech.start_s for clip in clips)
        pauses = _pauses(len(self.audio) / SAMPLE_RATE - said_s, len(clips) + 1, self.rng)
        at_s = 0.0
        for clip, pause_s in zip(clips, pauses, strict=False):
            found = clip.speech
            onset = round((at_s + pause_s) * SAMPLE_RATE)
            first = round(max(0.0, found.start_s - AROUND_S) * SAMPLE_RATE)
            start = round(found.start_s * SAMPLE_RATE)
            last = round((found.end_s + AROUND_S) * SAMPLE_RATE)
            piece = _faded(clip.samples[first:last], start - first)
            gain_db = self.rng.uniform(*SPEECH_DBFS) - found.level_dbfs
            gain = min(10 ** (gain_db / 20), PEAK / float(np.abs(piece).max()))
            self._add(piece * gain, onset - (start - first))
            start_s = onset / SAMPLE_RATE
            at_s = start_s + found.end_s - found.start_s
            self.spoken.append(Spoken(clip.id, clip.text, start_s, at_s))
            self.levels.append(found.level_dbfs + 20 * math.log10(gain))

    def _make_noises(self, noises: Mapping[str, Sequence[Audio]]) -> None:
        labels = sorted(noises.keys() & EVENTS.keys())
        wanted = round(len(self.audio) / SAMPLE_RATE / 60 * EVENTS_PER_MINUTE)
        gaps = list(self._gaps())
        self.rng.shuffle(gaps)
        for start_s, end_s in gaps[:wanted]:
            name = str(self.rng.choice(labels))
            clips = noises[name]
            clip = clips[int(self.rng.integers(len(clips)))]
            length_s = min(EVENT_S, len(clip) / SAMPLE_RATE, end_s - start_s)
            at_s = self.rng.uniform(start_s, end_s - length_s)
            piece = clip[: round(length_s * SAMPLE_RATE)]
            step = round(LOUDEST_S * SAMPLE_RATE)
            loudest = max(_rms(piece[at : at + step]) for at in range(0, len(piece), step))
            gain = 10 ** (self.rng.uniform(*EVENTS[name]) / 20) / loudest
            gain = min(gain, PEAK / float(np.abs(piece).max()))
            self._add(_faded(piece * gain, 0), round(at_s * SAMPLE_RATE))
            self.noises.append(Noise(name, at_s, at_s + length_s))

    def _gaps(self) -> Iterator[tuple[float, float]]:
        """Where an event has place between two utterances."""
        ends = [0.0, *(spoken.end_s for spoken in self.spoken)]
        starts = [*(spoken.start_s for spoken in self.spoken), len(self.audio) / SAMPLE_RATE]
        for end_s, start_s in zip(ends, starts, strict=True):
            if start_s - end_s > 2 * EVENT_AWAY_S + 1:
                yield end_s + EVENT_AWAY_S, start_s - EVENT_AWAY_S

    def _rain(self, clips: Sequence[Audio]) -> None:
        """It rains while two utterances are spoken."""
        first = int(self.rng.integers(max(1, len(self.spoken) - 1)))
        under = slice(first, first + 2)
        start_s = self.spoken[under][0].start_s - RAIN_AROUND_S
        end_s = self.spoken[under][-1].end_s + RAIN_AROUND_S
        level = min(self.levels[under]) - self.rng.uniform(*RAIN_BELOW_SPEECH_DB)
        clip = clips[int(self.rng.integers(len(clips)))]
        rain = _at_level(_looped(clip, round((end_s - start_s) * SAMPLE_RATE)), level)
        self._add(_faded(rain, 0, RAIN_FADE_S), round(start_s * SAMPLE_RATE))
        self.noises.append(Noise(RAIN, start_s, end_s))

    def _add(self, piece: Audio, at: int) -> None:
        self.audio[at : at + len(piece)] += piece[: len(self.audio) - at]


def _chosen(folder: Path, count: int, rng: Generator) -> list[_Clip]:
    """So many clips, sentences and single words, in any order; none twice as long as they last."""
    found = list(_suitable(folder))
    words = [clip for corpus, clip in found if corpus in WORDS]
    sentences = [clip for corpus, clip in found if corpus in SENTENCES]
    short = _some(words, max(round(count * WORD_SHARE), count - len(sentences)), rng)
    chosen = [*short, *_some(sentences, count - len(short), rng)]
    return _some(list(itertools.islice(itertools.cycle(chosen), count)), count, rng)


def _some(clips: Sequence[_Clip], count: int, rng: Generator) -> list[_Clip]:
    return [clips[number] for number in rng.permutation(len(clips))[:count]]


def _suitable(folder: Path) -> Iterator[tuple[str, _Clip]]:
    """What could be said at home, is clean, and has its beginning and its end."""
    for row in _rows(folder / "manifest.jsonl"):
        corpus, text = row["corpus"], row["text"]
        if row["quality"] or row["lang"] != "en" or row["duration_s"] > MAX_CLIP_S:
            continue
        if row["kind"] == "other" or corpus not in SENTENCES | WORDS or text in NOT_SAID:
            continue
        if corpus in WORDS and text not in SAID_AT_HOME:
            continue
        head = round(HEAD_S.get(corpus, 0.0) * SAMPLE_RATE)
        samples = _read(folder / row["path"])[head:]
        found = label(samples)
        if found is None or (corpus != "samples" and found.snr_db < MIN_SNR_DB):
            continue
        seconds = len(samples) / SAMPLE_RATE
        is_free = found.start_s >= FREE_S and found.end_s <= seconds - FREE_S
        if is_free or row["kind"] == "read" or corpus == "samples":
            yield corpus, _Clip(row["id"], text, samples / 32768.0, found)


def _noises(folder: Path) -> dict[str, list[Audio]]:
    noises: dict[str, list[Audio]] = {}
    for row in _rows(folder / "noise_manifest.jsonl"):
        noises.setdefault(row["label"], []).append(_read(folder / row["path"]) / 32768.0)
    return noises


def _pauses(total_s: float, count: int, rng: Generator) -> Audio:
    """So many pauses of that length together, mostly short ones."""
    least_s, most_s = PAUSE_S
    if not least_s * count < total_s < most_s * count:
        raise ValueError(
            f"{count} pauses of {least_s:g} to {most_s:g} s do not take {total_s:.0f} s"
        )
    while True:
        weights = rng.gamma(1.5, size=count)
        pauses: Audio = least_s + (total_s - least_s * count) * weights / weights.sum()
        if pauses.max() <= most_s:
            return pauses


def _tone(name: str, length: int, rng: Generator) -> Audio:
    """What the room sounds like when nothing happens: pink noise, repeated without a seam."""
    level, hum = TONES[name]
    period = TONE_S * SAMPLE_RATE
    hz = np.fft.rfftfreq(period, 1 / SAMPLE_RATE)
    spectrum = rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
    spectrum[hz < TONE_LOWEST_HZ] = 0
    tone = _at_level(
        np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, TONE_LOWEST_HZ)), period), level
    )
    seconds = np.arange(period) / SAMPLE_RATE
    for number, pitch in enumerate(hum, 1):
        strength = 10 ** (HUM_DBFS / 20) * math.sqrt(2) / number
        tone = tone + strength * np.sin(2 * np.pi * pitch * seconds)
    return np.resize(tone, length)


def _looped(clip: Audio, length: int) -> Audio:
    """The clip over and over, each time faded into the next."""
    seam = round(RAIN_SEAM_S * SAMPLE_RATE)
    step = len(clip) - seam
    ramp = np.sqrt(np.linspace(0, 1, seam))
    shaped = clip.copy()
    shaped[:seam] *= ramp
    shaped[-seam:] *= ramp[::-1]
    looped = np.zeros((length // step + 2) * step + seam)
    for at in range(0, len(looped) - len(clip) + 1, step):
        looped[at : at + len(clip)] += shaped
    return looped[seam : seam + length]


def _faded(piece: Audio, before: int, fade_s: float = FADE_S) -> Audio:
    """Without clicks at its ends; speech that begins `before` samples in keeps its onset."""
    fade = min(round(fade_s * SAMPLE_RATE), len(piece) // 2)
    lead = min(fade, max(before, round(EDGE_FADE_S * SAMPLE_RATE))) if before else fade
    faded = piece.copy()
    faded[:lead] *= np.linspace(0, 1, lead)
    faded[-fade:] *= np.linspace(1, 0, fade)
    return faded


def _at_level(audio: Audio, dbfs: float) -> Audio:
    return audio * (10 ** (dbfs / 20) / _rms(audio))


def _rms(audio: Audio) -> float:
    return math.sqrt(float(np.mean(np.square(audio))))


def _rows(manifest: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, manifest.read_text().splitlines())


def _read(file: Path) -> NDArray[np.int16]:
    return np.frombuffer(speech.read_pcm(file), "<i2").astype(np.int16)


def _pcm(audio: Audio) -> NDArray[np.int16]:
    return np.rint(np.clip(audio, -1, 32767 / 32768) * 32768).astype(np.int16)


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
