"""A folder of noises in which nobody speaks: `python -m benchmarks.noises FOLDER`.

The noises of the speech data, sounds from Debian packages, and noises that are made; whole, cut
short as a satellite's voice detector cuts them, softer, over other noise and in a quiet room. The
same seed gives the same folder. `noise_manifest.jsonl` there names each with its group: whoever
fits anything leaves one group out and judges by that one. The packages stay in `FOLDER/packages`;
none of it belongs into the repository.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import wave
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import bench, noises_found, noises_made, speech
from benchmarks.noises_found import Noise
from benchmarks.noises_made import Rng, Sound
from stt_mqtt.types import SAMPLE_RATE

SEED = 11
MAX_S = 10.0
MIN_S = 0.3
CUT_S = (0.3, 1.0)
PER_GROUP = 36
"""At most, but for the recordings of the speech data, which are all there."""
MADE_PER_GROUP = 30
BABBLE = "babble"
BABBLES = 20
BABBLE_VOICES = (4, 8)
BABBLE_DBFS = -35.0
BABBLE_S = 5.0
ROOM_DBFS = (-75.0, -55.0)
LEVELS_DBFS = (-40.0, -6.0)
BACKGROUND_DB = (0.0, 20.0)
BACKGROUNDS = (noises_made.fan, noises_made.water, noises_made.steady, noises_made.hum)


def build(folder: Path, packages: Path | None) -> list[dict[str, object]]:
    """Write all noises and their manifest; None: without those of packages."""
    kept = list(noises_found.of_the_speech_data())
    found = (
        []
        if packages is None
        else list(noises_found.of_packages(packages, {noise.id for noise in kept}))
    )
    groups: dict[str, list[Noise]] = defaultdict(list)
    for noise in (*kept, *found):
        groups[noise.group] += derived(noise)
    chosen = list(map(bounded, kept))
    for group, noises in groups.items():
        rng = rng_for(f"choice {group}")
        left = max(PER_GROUP - sum(noise.group == group for noise in chosen), 0)
        others = [noise for noise in noises if noise.id not in {one.id for one in kept}]
        picked = sorted(rng.permutation(len(others))[:left])
        chosen += [others[n] for n in picked]
    for group in noises_made.MAKERS:
        chosen += made(group)
    chosen += babble()
    rows = [_written(folder, noise) for noise in chosen]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "noise_manifest.jsonl").write_text(lines)
    return rows


def derived(noise: Noise) -> Iterator[Noise]:
    """The noise whole, and what else a satellite might send of it."""
    rng = rng_for(noise.id)
    whole = bounded(noise)
    yield whole
    if len(noise.samples) > 2 * CUT_S[1] * SAMPLE_RATE:
        yield _variant(noise, "cut", loudest(rng, noise.samples))
    kind = ("soft", "over", "in a room")[int(rng.integers(3))]
    part = loudest(rng, noise.samples) if rng.random() < 0.5 else whole.samples
    yield _variant(
        noise, kind, {"soft": soft, "over": over, "in a room": in_a_room}[kind](rng, part)
    )


def made(group: str) -> Iterator[Noise]:
    """So many noises of one group of makers, at all levels, half of them in a quiet room."""
    makers = itertools.cycle(noises_made.MAKERS[group])
    for number, maker in zip(range(MADE_PER_GROUP), makers, strict=False):
        rng = rng_for(f"{group} {number}")
        sound = soft(rng, maker(rng)[: int(MAX_S * SAMPLE_RATE)])
        how = ("", " over noise", " in a room", "")[number % 4]
        if how == " over noise":
            sound = over(rng, sound)
        elif how:
            sound = in_a_room(rng, sound)
        name = f"{group.replace(' ', '_')}_{number:02d}"
        made_here = Noise(name, f"made: {maker.__name__}{how}", group, sound)
        yield bounded(made_here)


def babble() -> Iterator[Noise]:
    """Many people far away in another room: voices, but no words for this one."""
    clips = speech.recordings()
    for number in range(BABBLES):
        rng = rng_for(f"{BABBLE} {number}")
        voices = int(rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1))
        mixed = np.zeros(int(BABBLE_S * SAMPLE_RATE), np.float32)
        for n in rng.choice(len(clips), voices, replace=False):
            samples = np.frombuffer(clips[n].pcm, "<i2").astype(np.float32)
            voice = at_level(np.resize(samples, len(mixed)), -20.0)
            mixed += np.roll(voice, int(rng.integers(len(mixed))))
        sound = at_level(reverberated(rng, mixed), BABBLE_DBFS)
        yield Noise(f"{BABBLE}_{number:02d}", f"{voices} voices far away", BABBLE, sound)


def bounded(noise: Noise) -> Noise:
    """The noise, of a longer one the first `MAX_S`; the shortest within a quiet room."""
    samples = noise.samples[: int(MAX_S * SAMPLE_RATE)]
    if len(samples) < MIN_S * SAMPLE_RATE:
        samples = in_a_room(rng_for(noise.id), samples)
    return replace(noise, samples=samples)


def loudest(rng: Rng, sound: Sound) -> Sound:
    """A short cut about the loudest moment."""
    length = min(int(rng.uniform(*CUT_S) * SAMPLE_RATE), len(sound))
    energy = np.convolve(sound**2, np.ones(400, np.float32), "same")
    start = int(np.argmax(energy)) - int(length * rng.uniform(0.1, 0.5))
    start = min(max(start, 0), len(sound) - length)
    return sound[start : start + length]


def soft(rng: Rng, sound: Sound) -> Sound:
    """At another level."""
    peak = float(np.abs(sound).max()) or 1.0
    return sound * np.float32(10 ** (rng.uniform(*LEVELS_DBFS) / 20) / peak)


def over(rng: Rng, sound: Sound) -> Sound:
    """Over the steady noise of a home that is 0 to 20 dB softer."""
    maker = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    level_dbfs = _dbfs(sound) - float(rng.uniform(*BACKGROUND_DB))
    return sound + at_level(np.resize(maker(rng), len(sound)), level_dbfs)


def in_a_room(rng: Rng, sound: Sound) -> Sound:
    """Between two stretches of a quiet room."""
    before, after = (int(rng.uniform(0.1, 0.8) * SAMPLE_RATE) for _ in range(2))
    room = noises_made.pink(rng, (before + len(sound) + after) / SAMPLE_RATE + 0.01)
    room = at_level(room, float(rng.uniform(*ROOM_DBFS)))[: before + len(sound) + after]
    noises_made.add(room, sound, before)
    return room


def reverberated(rng: Rng, sound: Sound, seconds: float = 0.6) -> Sound:
    """As heard at the far end of a bare room."""
    count = int(seconds * SAMPLE_RATE)
    echo = rng.standard_normal(count) * np.geomspace(1, 1e-3, count)
    size = len(sound) + count
    heard = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)
    return heard[: len(sound)].astype(np.float32)


def at_level(sound: Sound, dbfs: float) -> Sound:
    """With this root mean square."""
    return sound * np.float32(10 ** ((dbfs - _dbfs(sound)) / 20))


def rng_for(name: str) -> Rng:
    """Chance by seed and name: nothing else changes when one noise is added."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def _dbfs(sound: Sound) -> float:
    return 10 * float(np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def _variant(noise: Noise, kind: str, samples: Sound) -> Noise:
    samples = samples[: int(MAX_S * SAMPLE_RATE)]
    made_id = f"{noise.id}_{kind.replace(' ', '_')}"
    return bounded(Noise(made_id, f"{noise.label}, {kind}", noise.group, samples, noise.id))


def _written(folder: Path, noise: Noise) -> dict[str, object]:
    file = folder / "noise" / f"{noise.id}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    samples = np.clip(np.round(noise.samples * 32768), -32768, 32767).astype("<i2")
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(samples.tobytes())
    return {
        "id": noise.id,
        "path": str(file.relative_to(folder)),
        "label": noise.label,
        "group": noise.group,
        "sound": noise.sound or noise.id,
        "duration_s": round(len(samples) / SAMPLE_RATE, 3),
    }


def main() -> int:
    """Build the folder and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--without-packages", action="store_true", help="fetch nothing: fewer real noises"
    )
    options = parser.parse_args()
    packages = None if options.without_packages else options.folder / "packages"
    rows = build(options.folder, packages)
    for group, count in Counter(str(row["group"]) for row in rows).items():
        bench.say(f"{count:4d} {group}")
    bench.say(f"{len(rows)} noises, {sum(float(str(row['duration_s'])) for row in rows):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
