"""A folder of noises in which nobody speaks: `python -m benchmarks.noises FOLDER`.

The noises of the speech data, sounds from Debian packages, and noises that are made; whole, cut
short as a satellite's voice detector cuts them, softer, over other noise and in a quiet room. The
same seed gives the same folder. `noise_manifest.jsonl` there names each with its group: whoever
fits anything leaves one group out and judges by that one. The packages are fetched into
`FOLDER/packages` and not installed; none of it belongs into the repository.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import av
import numpy as np

from benchmarks import sounds, speech
from benchmarks.harness import say
from benchmarks.sounds import Rng, Sound, at_level, level_dbfs
from stt_mqtt.types import SAMPLE_RATE

SEED = 11
MIN_S, MAX_S = 0.3, 10.0
CUT_S = (0.3, 1.0)
PER_GROUP = 36
"""At most, but for the recordings of the speech data, which are all there."""
MADE_PER_GROUP = 30
BABBLES = 20
BABBLE_VOICES = (4, 8)
BABBLE_DBFS = -35.0
BABBLE_S = 5.0
ROOM_DBFS = (-75.0, -55.0)
LEVELS_DBFS = (-40.0, -6.0)
BACKGROUND_DB = (0.0, 20.0)
BACKGROUNDS = (sounds.fan, sounds.water, sounds.steady, sounds.hum)
FETCH_TIMEOUT_S = 600.0
ENDINGS = {".flac", ".oga", ".ogg", ".wav"}

PACKAGES = (
    "sonic-pi-samples", "sound-theme-freedesktop", "yaru-theme-sound", "oxygen-sounds",
    "gnome-audio", "psi-plus-sounds", "pidgin-data", "sound-icons", "tuxpaint-data", "alsa-utils",
)  # fmt: skip
VOICES = (
    "alsa-utils/*_*", "sound-theme-freedesktop/audio-channel-*", "sonic-pi-samples/ambi_choir",
    "sonic-pi-samples/bass_voxy*", "sonic-pi-samples/glitch_robot*",
    "sonic-pi-samples/mehackit_robot*", "sonic-pi-samples/vinyl_backspin",
    "sonic-pi-samples/vinyl_scratch", "sonic-pi-samples/rand-stream", "psi-plus-sounds/chess_start",
    "tuxpaint-data/areyousure", "tuxpaint-data/giggle", "tuxpaint-data/tuxok",
    "tuxpaint-data/youcannot",
)  # fmt: skip
"""Files that are left out: somebody speaks, sings or may do so, or it is no recording."""
GROUPS = {
    "sonic-pi-samples/ambi_*": "music",
    "sonic-pi-samples/loop_*": "music",
    "sonic-pi-samples/guit_*": "music",
    "sonic-pi-samples/elec_*": "electronic",
    "sonic-pi-samples/bass_*": "electronic",
    "sonic-pi-samples/glitch_*": "electronic",
    "sonic-pi-samples/mehackit_*": "electronic",
    "sonic-pi-samples/vinyl_*": "electronic",
    "sonic-pi-samples/*": "drums and blows",
    "sound-icons/*": "instruments",
    "tuxpaint-data/*": "game",
    "alsa-utils/*": "household",
    "*/*": "desktop",
}
"""Of the packages' files, by the first pattern that fits."""
LABELS = {
    "dog bark": "animals",
    "rooster": "animals",
    "baby cry": "people without words",
    "person sneeze": "people without words",
    "rain": "weather and fire",
    "sea waves": "weather and fire",
    "fire crackling": "weather and fire",
    "helicopter": "engines",
    "chainsaw": "engines",
    "voice-satellite UI sound": "satellite",
    "UI chime": "satellite",
    "music/sfx: elec_bell": "electronic",
    "music/sfx: vinyl_hiss": "electronic",
    "music/*": "music",
    "*": "household",
}
"""Groups of the speech data's labels, by the first pattern that fits."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A sound in which nobody speaks. `sound`: the id of what it was derived from."""

    id: str
    label: str
    group: str
    samples: Sound
    sound: str = ""


def build(folder: Path, packages: Path | None) -> list[dict[str, object]]:
    """Write all noises and their manifest; None: without those of packages."""
    kept = [
        Noise(clip.id, clip.corpus, _first(LABELS, clip.corpus), sounds.from_pcm(clip.pcm))
        for clip in speech.noises()
    ]
    known = {noise.id for noise in kept}
    groups: dict[str, list[Noise]] = defaultdict(list)
    for noise in (*kept, *(of_packages(packages, known) if packages else ())):
        groups[noise.group] += derived(noise)
    chosen = list(map(bounded, kept))
    for group, found in groups.items():
        left = max(PER_GROUP - sum(noise.group == group for noise in chosen), 0)
        others = [noise for noise in found if noise.id not in known]
        picked = rng_for(f"choice {group}").permutation(len(others))[:left]
        chosen += [others[n] for n in sorted(picked)]
    for group in sounds.MAKERS:
        chosen += made(group)
    chosen += babble()
    rows = [_written(folder, noise) for noise in chosen]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "noise_manifest.jsonl").write_text(lines)
    return rows


def of_packages(folder: Path, known: set[str]) -> Iterator[Noise]:
    """Every sound of the packages without a voice, but those whose ids are known already."""
    for package in PACKAGES:
        files = (file for file in _unpacked(package, folder).rglob("*") if file.suffix in ENDINGS)
        for file in sorted(files, key=lambda one: one.name):
            name = f"{package}/{file.stem}"
            has_voice = any(fnmatch(name, pattern) for pattern in VOICES)
            if has_voice or file.is_symlink() or f"sonicpi_{file.stem}" in known:
                continue
            label = f"{package}: {file.stem}"
            yield Noise(name.replace("/", "_"), label, _first(GROUPS, name), decoded(file))


def derived(noise: Noise) -> Iterator[Noise]:
    """The noise whole, and what else a satellite might send of it."""
    rng = rng_for(noise.id)
    whole = bounded(noise)
    yield whole
    if len(noise.samples) > 2 * CUT_S[1] * SAMPLE_RATE:
        yield _variant(noise, "cut", loudest(rng, noise.samples))
    kind, change = (("soft", soft), ("over", over), ("in a room", in_a_room))[int(rng.integers(3))]
    part = loudest(rng, noise.samples) if rng.random() < 0.5 else whole.samples
    yield _variant(noise, kind, change(rng, part))


def made(group: str) -> Iterator[Noise]:
    """So many noises of one group of makers, at all levels, half of them in a quiet room."""
    makers = itertools.cycle(sounds.MAKERS[group])
    for number, maker in zip(range(MADE_PER_GROUP), makers, strict=False):
        rng = rng_for(f"{group} {number}")
        sound = soft(rng, maker(rng)[: int(MAX_S * SAMPLE_RATE)])
        how = ("", " over noise", " in a room", "")[number % 4]
        if how:
            sound = (over if how == " over noise" else in_a_room)(rng, sound)
        name = f"{group.replace(' ', '_')}_{number:02d}"
        yield bounded(Noise(name, f"made: {maker.__name__}{how}", group, sound))


def babble() -> Iterator[Noise]:
    """Many people far away in another room: voices, but no words for this one."""
    clips = speech.recordings()
    for number in range(BABBLES):
        rng = rng_for(f"babble {number}")
        voices = int(rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1))
        mixed = np.zeros(int(BABBLE_S * SAMPLE_RATE), np.float32)
        for n in rng.choice(len(clips), voices, replace=False):
            samples = np.frombuffer(clips[n].pcm, "<i2").astype(np.float32)
            voice = at_level(np.resize(samples, len(mixed)), -20.0)
            mixed += np.roll(voice, int(rng.integers(len(mixed))))
        sound = at_level(reverberated(rng, mixed), BABBLE_DBFS)
        yield Noise(f"babble_{number:02d}", f"{voices} voices far away", "babble", sound)


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
    dbfs = level_dbfs(sound) - float(rng.uniform(*BACKGROUND_DB))
    return sound + at_level(np.resize(maker(rng), len(sound)), dbfs)


def in_a_room(rng: Rng, sound: Sound) -> Sound:
    """Between two stretches of a quiet room."""
    before, after = (int(rng.uniform(0.1, 0.8) * SAMPLE_RATE) for _ in range(2))
    room = sounds.pink(rng, (before + len(sound) + after) / SAMPLE_RATE + 0.01)
    room = at_level(room, float(rng.uniform(*ROOM_DBFS)))[: before + len(sound) + after]
    sounds.add(room, sound, before)
    return room


def reverberated(rng: Rng, sound: Sound, seconds: float = 0.6) -> Sound:
    """As heard at the far end of a bare room."""
    count = int(seconds * SAMPLE_RATE)
    echo = rng.standard_normal(count) * np.geomspace(1, 1e-3, count)
    size = len(sound) + count
    heard = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echo, size), size)
    return heard[: len(sound)].astype(np.float32)


def rng_for(name: str) -> Rng:
    """Chance by seed and name: nothing else changes when one noise is added."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def decoded(file: Path) -> Sound:
    """A file of any kind as mono at `SAMPLE_RATE`."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(file)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return sounds.from_pcm(b"".join(frame.to_ndarray().tobytes() for frame in frames))


def _first(patterns: dict[str, str], name: str) -> str:
    return next(group for pattern, group in patterns.items() if fnmatch(name, pattern))


def _variant(noise: Noise, kind: str, samples: Sound) -> Noise:
    samples = samples[: int(MAX_S * SAMPLE_RATE)]
    made_id = f"{noise.id}_{kind.replace(' ', '_')}"
    return bounded(Noise(made_id, f"{noise.label}, {kind}", noise.group, samples, noise.id))


def _written(folder: Path, noise: Noise) -> dict[str, object]:
    file = folder / "noise" / f"{noise.id}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    speech.write_wav(file, sounds.pcm(noise.samples))
    return {
        "id": noise.id,
        "path": str(file.relative_to(folder)),
        "label": noise.label,
        "group": noise.group,
        "sound": noise.sound or noise.id,
        "duration_s": round(len(noise.samples) / SAMPLE_RATE, 3),
    }


def _unpacked(package: str, folder: Path) -> Path:
    target = folder / package
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "-q", package], folder)
        (archive,) = folder.glob(f"{package}_*.deb")
        partial = folder / f"{package}.partial"
        partial.mkdir(exist_ok=True)
        _run(["dpkg-deb", "-x", archive.name, partial.name], folder)
        partial.rename(target)
    return target


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(
        command, cwd=folder, check=True, timeout=FETCH_TIMEOUT_S, stdout=subprocess.DEVNULL
    )


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
        say(f"{count:4d} {group}")
    say(f"{len(rows)} noises, {sum(float(str(row['duration_s'])) for row in rows):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
