"""Noises of others: the speech data's, and sounds from Debian packages, with what is left out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import av
import numpy as np

from benchmarks import speech
from benchmarks.noises_made import Sound
from stt_mqtt.types import SAMPLE_RATE

FETCH_TIMEOUT_S = 600.0
PACKAGES = (
    "sonic-pi-samples",
    "sound-theme-freedesktop",
    "yaru-theme-sound",
    "oxygen-sounds",
    "gnome-audio",
    "psi-plus-sounds",
    "pidgin-data",
    "sound-icons",
    "tuxpaint-data",
    "alsa-utils",
)
ENDINGS = {".flac", ".oga", ".ogg", ".wav"}
LEFT_OUT = {
    "alsa-utils/*_*": "somebody speaks the names of the loudspeakers",
    "sound-theme-freedesktop/audio-channel-*": "somebody speaks the names of the loudspeakers",
    "sonic-pi-samples/ambi_choir": "a choir",
    "sonic-pi-samples/bass_voxy*": "a voice played as a bass",
    "sonic-pi-samples/glitch_robot*": "a voice through a machine",
    "sonic-pi-samples/mehackit_robot*": "a voice through a machine",
    "sonic-pi-samples/vinyl_backspin": "a record with a voice, backwards",
    "sonic-pi-samples/vinyl_scratch": "a record with a voice, scratched",
    "sonic-pi-samples/rand-stream": "random numbers, no recording",
    "psi-plus-sounds/chess_start": "may be a voice",
    "tuxpaint-data/areyousure": "somebody speaks",
    "tuxpaint-data/giggle": "somebody laughs in syllables",
    "tuxpaint-data/tuxok": "may be a voice",
    "tuxpaint-data/youcannot": "somebody speaks",
}
SONIC_PI = {
    "ambi_*": "music",
    "loop_*": "music",
    "guit_*": "music",
    "elec_*": "electronic",
    "bass_*": "electronic",
    "glitch_*": "electronic",
    "mehackit_*": "electronic",
    "vinyl_*": "electronic",
    "*": "drums and blows",
}
"""Groups of `sonic-pi-samples`, by the first pattern that fits."""
PACKAGE_GROUPS = {
    "sound-icons": "instruments",
    "tuxpaint-data": "game",
    "alsa-utils": "household",
}
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
}
"""Groups of the speech data's labels; other music is `music`, all else `household`."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A sound in which nobody speaks.

    What is derived from it stays in its group; `sound` is the id of what it was derived from.
    """

    id: str
    label: str
    group: str
    samples: Sound
    sound: str = ""


def of_the_speech_data() -> Iterator[Noise]:
    """Every noise of the speech data."""
    for clip in speech.noises():
        other = "music" if clip.corpus.startswith("music/") else "household"
        samples = np.frombuffer(clip.pcm, "<i2").astype(np.float32) / np.float32(32768)
        yield Noise(clip.id, clip.corpus, LABELS.get(clip.corpus, other), samples)


def of_packages(folder: Path, known: set[str]) -> Iterator[Noise]:
    """Every sound of the packages that nobody speaks in, but those whose ids are known already.

    The packages are fetched into `folder` and unpacked there, never installed.
    """
    for package in PACKAGES:
        files = (file for file in _unpacked(package, folder).rglob("*") if file.suffix in ENDINGS)
        for file in sorted(files, key=lambda one: one.name):
            name = f"{package}/{file.stem}"
            left_out = any(fnmatch(name, pattern) for pattern in LEFT_OUT)
            if left_out or file.is_symlink() or f"sonicpi_{file.stem}" in known:
                continue
            yield Noise(
                name.replace("/", "_"),
                f"{package}: {file.stem}",
                _group(package, file.stem),
                decoded(file),
            )


def decoded(file: Path) -> Sound:
    """A file of any kind as mono at `SAMPLE_RATE`."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(file)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(
        np.float32
    ) / np.float32(32768)


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


def _group(package: str, stem: str) -> str:
    if package == "sonic-pi-samples":
        return next(group for pattern, group in SONIC_PI.items() if fnmatch(stem, pattern))
    return PACKAGE_GROUPS.get(package, "desktop")
