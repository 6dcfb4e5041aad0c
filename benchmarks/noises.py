"""Builds noises in which nobody speaks: `python -m benchmarks.noises FOLDER`.

They are the noises of the speech data, sounds of Debian packages, and generated sounds: whole, cut,
softer, over other noise, and between stretches of a quiet room. The packages are downloaded to
`FOLDER/packages` and not installed. The same seed gives the same files.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np

from benchmarks import sounds, speech
from benchmarks.harness import say
from benchmarks.sounds import Rng, Sound, at_level, level_dbfs
from stt_mqtt.types import SAMPLE_RATE

SEED = 11
MIN_S, MAX_S = 0.3, 10.0
MAX_SAMPLES = int(MAX_S * SAMPLE_RATE)
CUT_S = (0.3, 1.0)
PER_GROUP = 36
"""At most. All recordings of the speech data are kept, even if there are more."""
MADE_PER_GROUP = 30
BABBLES, BABBLE_VOICES, BABBLE_S, BABBLE_DBFS = 20, (4, 8), 5.0, -35.0
ECHO_SAMPLES = int(0.6 * SAMPLE_RATE)
"""In which the echo falls by 60 dB."""
BACKGROUNDS = (sounds.fan, sounds.water, sounds.steady, sounds.hum)
ENDINGS = {".flac", ".oga", ".ogg", ".wav"}
PACKAGES = (
    "sonic-pi-samples", "sound-theme-freedesktop", "yaru-theme-sound", "oxygen-sounds",
    "gnome-audio", "psi-plus-sounds", "pidgin-data", "sound-icons", "tuxpaint-data", "alsa-utils",
)  # fmt: skip
VOICES = re.compile(
    "alsa-utils/.*_|sound-theme-freedesktop/audio-channel-|psi-plus-sounds/chess_start$"
    "|sonic-pi-samples/(bass_voxy|glitch_robot|mehackit_robot)"
    "|sonic-pi-samples/(ambi_choir|vinyl_backspin|vinyl_scratch|rand-stream)$"
    "|tuxpaint-data/(areyousure|giggle|tuxok|youcannot)$"
)
"""Files that are left out, because they have or may have a voice, or are no recording."""
GROUPS = {
    "music": "sonic-pi-samples/(ambi|loop|guit)_",
    "electronic": "sonic-pi-samples/(elec|bass|glitch|mehackit|vinyl)_",
    "drums and blows": "sonic-pi-samples/",
    "instruments": "sound-icons/",
    "game": "tuxpaint-data/",
    "household": "alsa-utils/",
    "desktop": "",
}
"""Groups of the files of packages. The first pattern at the start of the name counts."""
LABELS = {
    "animals": "(dog bark|rooster)$",
    "people without words": "(baby cry|person sneeze)$",
    "weather and fire": "(rain|sea waves|fire crackling)$",
    "engines": "(helicopter|chainsaw)$",
    "satellite": "(voice-satellite UI sound|UI chime)$",
    "electronic": "music/sfx: (elec_bell|vinyl_hiss)$",
    "music": "music/",
    "household": "",
}
"""Groups of the labels of the speech data. The first pattern counts."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A sound in which nobody speaks. `sound`: the id of the sound that it was derived from."""

    id: str
    label: str
    group: str
    samples: Sound
    sound: str = ""


def build(folder: Path, packages: Path | None) -> list[dict[str, object]]:
    """Write all noises and their manifest to `folder`. None: without the sounds of packages."""
    kept = [
        Noise(clip.id, clip.corpus, _group(LABELS, clip.corpus), sounds.from_pcm(clip.pcm))
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
    """The sounds of all packages without a voice, except those whose ids are in `known`."""
    for package in PACKAGES:
        files = (file for file in _unpacked(package, folder).rglob("*") if file.suffix in ENDINGS)
        for file in sorted(files, key=lambda one: one.name):
            name, other_id = f"{package}/{file.stem}", f"sonicpi_{file.stem}"
            if VOICES.match(name) or file.is_symlink() or other_id in known:
                continue
            label = f"{package}: {file.stem}"
            yield Noise(name.replace("/", "_"), label, _group(GROUPS, name), decoded(file))


def derived(noise: Noise) -> Iterator[Noise]:
    """The noise whole, a cut of it if it is long, and one other variant."""
    rng = rng_for(noise.id)
    whole = bounded(noise)
    yield whole
    if len(noise.samples) > 2 * CUT_S[1] * SAMPLE_RATE:
        yield _variant(noise, "cut", loudest(rng, noise.samples))
    kind, change = (("soft", soft), ("over", over), ("in a room", in_a_room))[int(rng.integers(3))]
    part = loudest(rng, noise.samples) if rng.random() < 0.5 else whole.samples
    yield _variant(noise, kind, change(rng, part))


def made(group: str) -> Iterator[Noise]:
    """`MADE_PER_GROUP` generated noises at all levels, a quarter each over noise and in a room."""
    makers = itertools.cycle(sounds.MAKERS[group])
    for number, maker in zip(range(MADE_PER_GROUP), makers, strict=False):
        rng = rng_for(f"{group} {number}")
        sound = soft(rng, maker(rng)[:MAX_SAMPLES])
        how = ("", " over noise", " in a room", "")[number % 4]
        if how:
            sound = (over if how == " over noise" else in_a_room)(rng, sound)
        name = f"{group.replace(' ', '_')}_{number:02d}"
        yield bounded(Noise(name, f"made: {maker.__name__}{how}", group, sound))


def babble() -> Iterator[Noise]:
    """Several people at once, far away in a bare room. No word is intelligible."""
    clips = speech.recordings()
    for number in range(BABBLES):
        rng = rng_for(f"babble {number}")
        voices = int(rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1))
        mixed = np.zeros(int(BABBLE_S * SAMPLE_RATE), np.float32)
        for n in rng.choice(len(clips), voices, replace=False):
            samples = np.frombuffer(clips[n].pcm, "<i2").astype(np.float32)
            voice = at_level(np.resize(samples, len(mixed)), -20.0)
            mixed += np.roll(voice, int(rng.integers(len(mixed))))
        echo = rng.standard_normal(ECHO_SAMPLES) * np.geomspace(1, 1e-3, ECHO_SAMPLES)
        size = len(mixed) + ECHO_SAMPLES
        heard = np.fft.irfft(np.fft.rfft(mixed, size) * np.fft.rfft(echo, size), size)
        sound = at_level(heard[: len(mixed)].astype(np.float32), BABBLE_DBFS)
        yield Noise(f"babble_{number:02d}", f"{voices} voices far away", "babble", sound)


def bounded(noise: Noise) -> Noise:
    """The first `MAX_S` of the noise; one under `MIN_S` within a quiet room."""
    samples = noise.samples[:MAX_SAMPLES]
    if len(samples) < MIN_S * SAMPLE_RATE:
        samples = in_a_room(rng_for(noise.id), samples)
    return replace(noise, samples=samples)


def loudest(rng: Rng, sound: Sound) -> Sound:
    """A cut of `CUT_S` seconds around the loudest moment."""
    length = min(int(rng.uniform(*CUT_S) * SAMPLE_RATE), len(sound))
    energy = np.convolve(sound**2, np.ones(400, np.float32), "same")
    start = int(np.argmax(energy)) - int(length * rng.uniform(0.1, 0.5))
    start = min(max(start, 0), len(sound) - length)
    return sound[start : start + length]


def soft(rng: Rng, sound: Sound) -> Sound:
    """With another peak, -40 to -6 dB of full scale."""
    peak = float(np.abs(sound).max()) or 1.0
    return sound * np.float32(10 ** (rng.uniform(-40, -6) / 20) / peak)


def over(rng: Rng, sound: Sound) -> Sound:
    """Over steady noise that is 0 to 20 dB softer."""
    maker = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    dbfs = level_dbfs(sound) - float(rng.uniform(0, 20))
    return sound + at_level(np.resize(maker(rng), len(sound)), dbfs)


def in_a_room(rng: Rng, sound: Sound) -> Sound:
    """With 0.1 to 0.8 s of a room of -75 to -55 dBFS before and after."""
    before, after = (int(rng.uniform(0.1, 0.8) * SAMPLE_RATE) for _ in range(2))
    count = before + len(sound) + after
    room = sounds.pink(rng, count / SAMPLE_RATE + 0.01)
    room = at_level(room, rng.uniform(-75, -55))[:count]
    sounds.add(room, sound, before)
    return room


def rng_for(name: str) -> Rng:
    """Random numbers for a name, so that another noise changes nothing in this one."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def decoded(file: Path) -> Sound:
    """An audio file as mono at `SAMPLE_RATE`."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(file)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return sounds.from_pcm(b"".join(frame.to_ndarray().tobytes() for frame in frames))


def _group(patterns: Mapping[str, str], name: str) -> str:
    return next(group for group, pattern in patterns.items() if re.match(pattern, name))


def _variant(noise: Noise, kind: str, samples: Sound) -> Noise:
    name = f"{noise.id}_{kind.replace(' ', '_')}"
    return bounded(Noise(name, f"{noise.label}, {kind}", noise.group, samples, noise.id))


def _written(folder: Path, noise: Noise) -> dict[str, object]:
    path = Path("noise", f"{noise.id}.wav")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    speech.write_wav(folder / path, sounds.pcm(noise.samples))
    return {
        "id": noise.id,
        "path": str(path),
        "label": noise.label,
        "group": noise.group,
        "sound": noise.sound or noise.id,
        "duration_s": round(len(noise.samples) / SAMPLE_RATE, 3),
    }


def _unpacked(package: str, folder: Path) -> Path:
    target, partial = folder / package, folder / f"{package}.partial"
    if not target.is_dir():
        partial.mkdir(parents=True, exist_ok=True)
        download = ["apt-get", "download", "-q", package]
        subprocess.run(download, cwd=folder, check=True, timeout=600)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, partial], check=True)
        partial.rename(target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m benchmarks.noises FOLDER")
    to = Path(sys.argv[1])
    say(f"{len(build(to, to / 'packages'))} noises")
