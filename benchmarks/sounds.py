"""Generated sounds. Each generator gives another sound of its kind with every call.

The order of the random draws is part of a generator. Another order makes other sounds.
Sounds are mono at `SAMPLE_RATE`, full scale ±1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_mqtt.types import SAMPLE_RATE

Sound = NDArray[np.float32]
Rng = np.random.Generator
Maker = Callable[[Rng], Sound]
Response = Callable[[NDArray[Any]], Any]
"""Gain for each frequency in hertz."""


def beep(rng: Rng) -> Sound:
    """One tone of an appliance: sine, square or a pair of sines."""
    seconds, hz = rng.uniform(0.2, 1.0), rng.uniform(300, 3500)
    kind = int(rng.integers(3))
    wave = tone(hz, seconds)
    if kind == 1:
        wave = np.sign(wave) * np.float32(0.5)
    elif kind == 2:
        wave = wave + tone(hz * float(rng.choice([1.25, 1.5, 2.0])), seconds)
    return faded(wave)


def chime(rng: Rng) -> Sound:
    """Two to five decaying notes of an assistant or appliance."""
    ratios = rng.choice([1.0, 1.125, 1.25, 1.333, 1.5, 1.667, 2.0], int(rng.integers(2, 6)))
    root, each_s = rng.uniform(250, 1400), rng.uniform(0.08, 0.35)
    return sequence([struck(rng, root * ratio, each_s * 2.5) for ratio in ratios], each_s)


def sweep(rng: Rng) -> Sound:
    """A tone that rises or falls."""
    seconds, low, high = rng.uniform(0.2, 1.0), rng.uniform(150, 900), rng.uniform(1000, 3800)
    first, last = (low, high) if rng.random() < 0.5 else (high, low)
    return faded(_sine(first * (last / first) ** (_time(seconds) / seconds)))


def doorbell(rng: Rng) -> Sound:
    """Two notes, or a mechanical bell."""
    if rng.random() < 0.6:
        high = rng.uniform(500, 900)
        notes = [struck(rng, high, 1.6), struck(rng, high * 0.8, 1.6)]
        return sequence(notes, rng.uniform(0.4, 0.8))
    strikes = [struck(rng, rng.uniform(1200, 2600), 0.3)] * int(rng.integers(8, 30))
    return sequence(strikes, 1 / rng.uniform(12, 25))


def alarm(rng: Rng) -> Sound:
    """An alarm clock, a timer or a smoke detector: groups of beeps."""
    hz, each_s = rng.uniform(800, 3300), rng.uniform(0.06, 0.4)
    one = np.sign(tone(hz, each_s)) if rng.random() < 0.5 else tone(hz, each_s)
    group = sequence([faded(one)] * int(rng.integers(1, 5)), each_s * 1.6)
    times = int(rng.integers(2, 5))
    return sequence([group] * times, len(group) / SAMPLE_RATE + rng.uniform(0.2, 0.8))


def ring(rng: Rng) -> Sound:
    """A telephone: two alternating tones, or the tone of the line."""
    low = rng.uniform(400, 1200)
    if rng.random() < 0.5:
        return faded(tone(low, 1.0) + tone(low * 1.1, 1.0))
    pair = [faded(tone(low, 0.05)), faded(tone(low * 1.25, 0.05))]
    return sequence(pair * int(rng.integers(8, 16)), 0.05)


def dtmf(rng: Rng) -> Sound:
    """One to seven keys of a telephone."""
    low_hz, high_hz = (697, 770, 852, 941), (1209, 1336, 1477)
    pressed = [
        faded(tone(float(rng.choice(low_hz)), 0.12) + tone(float(rng.choice(high_hz)), 0.12))
        for _ in range(int(rng.integers(1, 8)))
    ]
    return sequence(pressed, rng.uniform(0.14, 0.3))


def hum(rng: Rng) -> Sound:
    """The mains frequency and its harmonics."""
    base, seconds = float(rng.choice([50.0, 60.0])), rng.uniform(0.8, 6.0)
    parts = [np.float32(rng.uniform(0.05, 1.0) / n) * tone(base * n, seconds) for n in range(1, 13)]
    return np.sum(parts, axis=0, dtype=np.float32) + np.float32(0.02) * pink(rng, seconds)


def fan(rng: Rng) -> Sound:
    """Moving air and the tone of the blades: fans, hair dryers, vacuum cleaners."""
    seconds, blade_hz = rng.uniform(0.8, 6.0), rng.uniform(60, 420)
    air = shaped(rng, seconds, lambda f: 1 / (1 + (f / rng.uniform(400, 2500)) ** 2) ** 0.5)
    blades = [tone(blade_hz * n, seconds) / np.float32(n) for n in range(1, 5)]
    return air + np.float32(rng.uniform(0.05, 1.0)) * np.sum(blades, axis=0, dtype=np.float32)


def motor(rng: Rng) -> Sound:
    """Pulses at the changing speed of an engine: mixers, mowers, washing machines."""
    seconds = rng.uniform(0.8, 6.0)
    speed = 1 + 0.3 * slow(rng, seconds, 0.7)
    phase = np.cumsum(rng.uniform(18, 160) * speed) / SAMPLE_RATE
    pulses = np.exp(-rng.uniform(4, 14) * (phase % 1)).astype(np.float32)
    resonant = shaped(rng, seconds, _band(rng.uniform(200, 1500), 1.5))
    return np.asarray(pulses * resonant + np.float32(0.3) * (pulses - pulses.mean()))


def steady(rng: Rng) -> Sound:
    """White, pink or brown noise."""
    power, seconds = float(rng.choice([0.0, 0.5, 1.0])), rng.uniform(0.5, 6.0)
    return shaped(rng, seconds, lambda f: 1 / np.maximum(f, 30.0) ** power)


def wind(rng: Rng) -> Sound:
    """Low noise in gusts."""
    seconds = rng.uniform(1.0, 6.0)
    low = shaped(rng, seconds, lambda f: 1 / (1 + (f / rng.uniform(120, 600)) ** 3))
    return np.asarray(low * (np.float32(0.2) + slow(rng, seconds, 1.2) ** 2))


def water(rng: Rng) -> Sound:
    """A tap, a shower, a kettle: noise that varies quickly, with drops."""
    seconds = rng.uniform(0.8, 6.0)
    flow = shaped(rng, seconds, _band(rng.uniform(600, 4000), 0.9))
    flow = flow * (np.float32(0.5) + slow(rng, seconds, 15.0))
    for _ in range(int(seconds * rng.uniform(0, 12))):
        add(flow, 2 * struck(rng, rng.uniform(500, 2500), 0.05), int(rng.integers(len(flow))))
    return flow


def crackle(rng: Rng) -> Sound:
    """Many short clicks: fire, foil, paper, frying."""
    seconds = rng.uniform(0.5, 5.0)
    made = np.float32(0.03) * pink(rng, seconds)
    for _ in range(int(seconds * rng.uniform(8, 60))):
        add(made, float(rng.pareto(2.5)) * click(rng), int(rng.integers(len(made))))
    return made


def knocks(rng: Rng) -> Sound:
    """One to five knocks, taps or steps."""
    body = shaped(rng, 0.25, _band(rng.uniform(90, 900), 1.0))
    knock = body * np.geomspace(1, 1e-4, len(body), dtype=np.float32)
    times = range(int(rng.integers(1, 6)))
    parts = [knock * np.float32(rng.uniform(0.6, 1)) for _ in times]
    return sequence(parts, rng.uniform(0.15, 0.5))


def keys(rng: Rng) -> Sound:
    """A keyboard or switches."""
    presses = [
        [click(rng), np.zeros(int(rng.uniform(400, 1500)), np.float32), click(rng)]
        for _ in range(int(rng.integers(1, 15)))
    ]
    return sequence(list(map(np.concatenate, presses)), rng.uniform(0.09, 0.3))


def whistle(rng: Rng) -> Sound:
    """A person, a bird or a kettle: a gliding tone with breath."""
    seconds = rng.uniform(0.25, 2.0)
    glide = 1 + 0.35 * (slow(rng, seconds, rng.uniform(1, 5)) - 0.5)
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(4, 8) * _time(seconds))
    made = _sine(rng.uniform(900, 2800) * glide * vibrato)
    return faded(made + np.float32(0.03) * pink(rng, seconds), 0.04)


def burst(rng: Rng) -> Sound:
    """Like a sneeze, a cough, a clap or a hiss: bursts of noise with two resonances."""
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        seconds = rng.uniform(0.08, 0.5)
        first = shaped(rng, seconds, _band(rng.uniform(300, 1500), 1.2))
        second = shaped(rng, seconds, _band(rng.uniform(1500, 5000), 1.2))
        shape = _time(seconds) / seconds
        parts.append((first + second) * (shape**0.3 * (1 - shape) ** rng.uniform(0.7, 3)))
    return sequence(parts, rng.uniform(0.25, 0.6))


MAKERS: dict[str, tuple[Maker, ...]] = {
    "made beeps": (beep, beep, chime, chime, sweep),
    "made bells": (doorbell, alarm, ring, dtmf),
    "made hum and machines": (hum, fan, motor),
    "made steady noise": (steady,),
    "made wind and water": (wind, water, crackle),
    "made knocks and keys": (knocks, keys),
    "made whistles": (whistle,),
    "made bursts": (burst,),
}
"""The generators by group. One that is listed twice is used twice as often."""


def tone(hz: float, seconds: float) -> Sound:
    """A sine."""
    return np.asarray(np.sin(2 * np.pi * hz * _time(seconds)), np.float32)


def struck(rng: Rng, hz: float, seconds: float) -> Sound:
    """A decaying note with one inharmonic partial."""
    made = tone(hz, seconds) + np.float32(0.3) * tone(hz * rng.uniform(1.9, 2.9), seconds)
    return faded(made * np.exp(-_time(seconds) * (5 / seconds)).astype(np.float32), 0.004)


def click(rng: Rng) -> Sound:
    """2 to 16 ms of decaying noise."""
    length = int(rng.uniform(30, 250))
    noise = rng.standard_normal(length).astype(np.float32)
    return noise * np.geomspace(1, 0.01, length, dtype=np.float32)


def pink(rng: Rng, seconds: float) -> Sound:
    """Noise with the same power in each octave, like a quiet room."""
    return shaped(rng, seconds, lambda f: 1 / np.maximum(f, 30.0) ** 0.5)


def shaped(rng: Rng, seconds: float, response: Response) -> Sound:
    """Noise with the spectrum `response`; RMS 0.3."""
    count = max(int(seconds * SAMPLE_RATE), 2)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum = spectrum * np.asarray(response(np.fft.rfftfreq(count, 1 / SAMPLE_RATE)))
    wave = np.fft.irfft(spectrum, count)
    return np.asarray(wave * (0.3 / (np.sqrt(np.mean(wave**2)) + 1e-12)), np.float32)


def slow(rng: Rng, seconds: float, hz: float) -> Sound:
    """A curve between 0 and 1 with `hz` random values per second."""
    values = rng.random(max(int(seconds * hz), 1) + 2)
    at = np.linspace(0, len(values) - 1, int(seconds * SAMPLE_RATE))
    return np.interp(at, np.arange(len(values)), values).astype(np.float32)


def sequence(sounds: list[Sound], step_s: float) -> Sound:
    """All sounds, each starting `step_s` after the one before."""
    step = int(step_s * SAMPLE_RATE)
    made = np.zeros(max(step * n + len(sound) for n, sound in enumerate(sounds)), np.float32)
    for n, sound in enumerate(sounds):
        add(made, sound, n * step)
    return made


def add(onto: Sound, sound: Sound, at: int) -> None:
    """Add `sound` from sample `at` on, as far as there is room."""
    onto[at : at + len(sound)] += sound[: len(onto) - at]


def faded(sound: Sound, seconds: float = 0.008) -> Sound:
    """Faded in and out."""
    count = min(int(seconds * SAMPLE_RATE), len(sound) // 2)
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    made = sound.astype(np.float32)
    made[:count] *= ramp
    made[len(made) - count :] *= ramp[::-1]
    return made


def at_level(sound: Sound, dbfs: float) -> Sound:
    """With this root mean square in dB of full scale."""
    return sound * np.float32(10 ** ((dbfs - level_dbfs(sound)) / 20))


def level_dbfs(sound: Sound) -> float:
    """Root mean square in dB of full scale."""
    return 10 * float(np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-12))


def pcm(sound: Sound) -> bytes:
    """As 16-bit little-endian samples."""
    return bytes(np.clip(np.round(sound * 32768), -32768, 32767).astype("<i2").tobytes())


def from_pcm(data: bytes) -> Sound:
    """From 16-bit little-endian samples."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def _sine(hz: NDArray[Any]) -> Sound:
    """A sine of changing frequency."""
    phase = 2 * np.pi * np.cumsum(np.asarray(hz, np.float64)) / SAMPLE_RATE
    return np.sin(phase).astype(np.float32)


def _band(centre_hz: float, octaves: float) -> Response:
    return lambda f: np.exp(-((np.log2(np.maximum(f, 1.0) / centre_hz) / octaves) ** 2))


def _time(seconds: float) -> Sound:
    return np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)
