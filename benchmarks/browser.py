"""What the microphone page sends: words, bytes and CPU time, in a real browser.

Recordings in household noise pass the worklet, the voice detector and the Opus encoder of the page
in headless Chromium. `stt-mqtt transcribe` then hears what would be sent: raw, normalised or
denoised. The page itself is then measured with a recording as its microphone, and the service with
20 browsers.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from benchmarks import browser_page, report, scoring, sounds, speech
from benchmarks.browser_page import served
from benchmarks.harness import say, transcribed
from benchmarks.sounds import Sound, at_level, level_dbfs
from benchmarks.speech import Clip
from stt_mqtt.audio.decode import decode
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio
from tests.browser import chromium

SEED = 7
COMMANDS = ("speech_to_phrase_en", "an4", "pocketsphinx", "rhasspy_lamp")
"""Corpora of commands, numbers and spelled words, with texts."""
SPELLED = 1
"""Letters of a word that is spelled: the model writes these in many ways."""
LEAD_S, TAIL_S = 3.0, 1.2
"""Of noise around the speech: the page listens all day, and its clean-up knows the noise."""
SNRS_DB = (20, 10, 5)
MICROPHONE_DBFS = -80.0
NOISES = ("doing the dishes", "rain", "music/sfx: ", "exercise bike", "background noise")
"""How the labels of noises begin in which somebody may speak."""
SENT = ("raw", "normalised", "denoised")
WHOLE = "as it is, whole, PCM"
BROWSER_RATE = 48_000
MAX_S = 60.0
SOUNDS_OF_A_PAGE = 16
"""Then it is loaded anew: each sound leaves 16 MB of WebAssembly memory behind."""


# What the page hears ----------------------------------------------------------------------------


def commands() -> list[Clip]:
    """Commands and numbers, without spelled words."""
    return [
        clip
        for clip in speech.recordings()
        if clip.corpus in COMMANDS and all(len(word) > SPELLED for word in clip.text.split())
    ]


def scene(clip: Clip, noise: Sound, snr_db: float | None) -> Sound:
    """The clip after `LEAD_S` of noise. None: in a quiet room."""
    spoken = sounds.from_pcm(clip.pcm)
    lead, tail = (np.zeros(round(seconds * SAMPLE_RATE)) for seconds in (LEAD_S, TAIL_S))
    heard = np.concatenate([lead, spoken, tail]).astype(np.float32)
    rng = np.random.default_rng(SEED)
    heard += rng.normal(0, 10 ** (MICROPHONE_DBFS / 20), len(heard)).astype(np.float32)
    if snr_db is not None:
        heard += at_level(np.resize(noise, len(heard)), level_dbfs(spoken) - snr_db)
    return heard / np.float32(max(1.0, float(np.abs(heard).max())))


def conditions(clips: Sequence[Clip], noises: Sequence[Clip]) -> dict[str, list[Sound]]:
    """All clips in a quiet room and in household noise, by the condition's name."""
    beds = [sounds.from_pcm(one.pcm) for one in noises if one.corpus.startswith(NOISES)]
    beds.append(sounds.pink(np.random.default_rng(SEED), 10.0))
    pairs = [(clip, beds[number % len(beds)]) for number, clip in enumerate(clips)]
    levels: dict[str, float | None] = {"quiet": None} | {f"{snr} dB": snr for snr in SNRS_DB}
    return {name: [scene(*pair, snr) for pair in pairs] for name, snr in levels.items()}


def at_browser_rate(sound: Sound) -> bytes:
    """32-bit floats at the rate of the browser."""
    factor = BROWSER_RATE // SAMPLE_RATE
    spectrum = np.fft.rfft(sound)
    wide = np.zeros(len(sound) * factor // 2 + 1, spectrum.dtype)
    wide[: len(spectrum)] = spectrum
    return (np.fft.irfft(wide, len(sound) * factor) * factor).astype("<f4").tobytes()


# What arrives -----------------------------------------------------------------------------------


def arrived(page: Page, sound: Sound, sent: str, site: browser_page.Site) -> list[bytes]:
    """The bytes of each utterance that the page sends of a sound."""
    site.recording = at_browser_rate(sound)
    encoded = page.evaluate("sent => window.hear('/recording', sent)", sent)
    return [base64.b64decode(one) for one in encoded]


def costs(
    heard: Mapping[str, list[Sound]], page: Page, sent: str, site: browser_page.Site, folder: Path
) -> dict[str, Any]:
    """For each condition, the bytes and the WAV files of what arrives."""
    rows: dict[str, Any] = {}
    for condition, all_sounds in heard.items():
        utterances = []
        for number, sound in enumerate(all_sounds):
            if number % SOUNDS_OF_A_PAGE == 0:
                load_chain(page, site)
            utterances.append(arrived(page, sound, sent, site))
        rows[condition] = {
            "bytes": sum(len(one) for each in utterances for one in each),
            "utterances": sum(map(len, utterances)),
            "files": [[_written(folder, decoded(one)) for one in each] for each in utterances],
        }
        say(f"{sent}, {condition}: {rows[condition]['bytes']} bytes")
    return rows


def whole(heard: Mapping[str, list[Sound]], folder: Path) -> dict[str, Any]:
    """The same rows without the page: everything from shortly before the speech on, as PCM."""
    rows = {}
    for condition, all_sounds in heard.items():
        pieces = [sound[int((LEAD_S - 0.3) * SAMPLE_RATE) :] for sound in all_sounds]
        rows[condition] = {
            "bytes": sum(2 * len(piece) for piece in pieces),
            "utterances": len(pieces),
            "files": [[_written(folder, sounds.pcm(piece))] for piece in pieces],
        }
    return rows


def decoded(packets: bytes) -> bytes:
    """16-bit mono of Opus packets, as the service decodes them."""
    audio = EncodedAudio(AudioFormat(Codec.OPUS), packets)
    return sounds.pcm(decode(audio, MAX_S).samples)


def judge(rows: Mapping[str, Any], clips: Sequence[Clip], texts: Mapping[Path, str]) -> None:
    """Replace `files` in each condition with wrong words and right commands."""
    for conditions_of in rows.values():
        for row in conditions_of.values():
            heard = [" ".join(texts[file] for file in each).strip() for each in row.pop("files")]
            errors = [
                scoring.word_errors(clip.text, text)
                for clip, text in zip(clips, heard, strict=True)
            ]
            row["errors"] = [wrong for wrong, _ in errors]
            row["wer"] = sum(row["errors"]) / sum(words for _, words in errors)
            row["right"] = sum(not wrong for wrong, _ in errors)


def differences(rows: Mapping[str, Any], clips: Sequence[Clip]) -> dict[str, Any]:
    """How the word error rate over all noises differs from that of raw audio, with its interval."""
    words = [scoring.word_errors(clip.text, "")[1] for clip in clips] * len(SNRS_DB)
    clusters = [clip.speaker or clip.id for clip in clips] * len(SNRS_DB)
    estimate = partial(scoring.bootstrap, clusters=clusters, of=scoring.difference_of_shares)

    def in_noise(name: str) -> list[int]:
        return [wrong for snr in SNRS_DB for wrong in rows[name][f"{snr} dB"]["errors"]]

    raw = in_noise("raw")
    return {
        name: estimate([in_noise(name), words, raw, words]).limits for name in rows if name != "raw"
    }


# The benchmark ----------------------------------------------------------------------------------


@contextmanager
def the_chain() -> Iterator[tuple[Page, browser_page.Site]]:
    """The page of this benchmark in a browser."""
    with served() as site, chromium() as browser:
        yield browser.new_page(), site


def load_chain(page: Page, site: browser_page.Site) -> None:
    """Load the page of this benchmark."""
    page.goto(f"{site.url}chain.html")
    page.wait_for_function("() => window.hear")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Words and bytes, then the page, then 20 browsers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick:
            clips, noises = speech.samples(folder)[:1], []
        else:
            clips, noises = commands(), speech.noises()
        heard = conditions(clips, noises)
        wavs = folder / "heard"
        wavs.mkdir()
        rows = {WHOLE: whole(heard, wavs)}
        with the_chain() as (page, site):
            for sent in SENT[:1] if options.quick else SENT:
                rows[sent] = costs(heard, page, sent, site, wavs)
        texts = transcribed(sorted(wavs.iterdir()), "--language", "en")
        judge(rows, clips, texts)
        return {
            "commands": len(clips),
            "seconds": round(sum(clip.seconds for clip in clips)),
            "rows": rows,
            "differences": differences(rows, clips),
            "page": browser_page.measured(folder, options.quick),
        }


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = data["rows"]
    names = list(next(iter(rows.values())))
    words = [
        [
            name,
            *(f"{row[condition]['wer']:.1%}" for condition in names),
            sum(row[condition]["right"] for condition in names),
            report.points(data["differences"][name]) if name in data["differences"] else None,
        ]
        for name, row in rows.items()
    ]
    sizes = [
        [
            name,
            *(row[condition]["bytes"] for condition in names),
            sum(row[condition]["utterances"] for condition in names),
        ]
        for name, row in rows.items()
    ]
    noisy = f"difference to raw at {', '.join(f'{snr}' for snr in SNRS_DB)} dB"
    return [
        "# The browser",
        "",
        f"{data['commands']} commands ({data['seconds']} s) in a quiet room, and in household "
        "noise at signal-to-noise ratios of 20, 10 and 5 dB. They pass the AudioWorklet, RNNoise, "
        "the voice detector and the Opus encoder (32 kbit/s) of the page in Chromium, and "
        "`stt-mqtt transcribe` hears what would be sent. *Whole*: what a microphone without any of "
        "this would send from 0.3 s before the speech on. Word error rates, commands that are "
        f"right of {data['commands'] * len(names)}, and the difference of the word error rate in "
        "percentage points, with its 95 % interval (bootstrap over speakers).",
        "",
        *report.table(["sent", *names, "right", noisy], words),
        "",
        "Bytes that are sent, and utterances that the voice detector made of the commands.",
        "",
        *report.table(["sent", *names, "utterances"], sizes),
        "",
        *browser_page.section(data["page"]),
    ]


def _written(folder: Path, pcm: bytes) -> Path:
    """The WAV file of these samples; the same samples are the same file, and are heard once."""
    file = folder / f"{hashlib.sha256(pcm).hexdigest()[:20]}.wav"
    speech.write_wav(file, pcm)
    return file


if __name__ == "__main__":
    benchmark = report.Benchmark("browser", measure, page)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
