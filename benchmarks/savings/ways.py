"""The two ways: the naive server with its microphones, and stt-mqtt with its satellites."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from benchmarks import bench
from benchmarks.savings import latency
from benchmarks.savings.household import Room, Spoken, write_wavs
from benchmarks.savings.meters import Listener, Metered
from benchmarks.savings.run import SERIES_STEP_S, Rooms, Speakers, Stage, Way
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.satellite.events import FRAME_BYTES, FRAME_S
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import Broker, eventually
from tools.program import PROGRAM

READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0
HANGOVER_S = SatelliteConfig().vad.hangover_ms / 1000

# The naive server ------------------------------------------------------------------------------


def naive(base: str) -> Way:
    """The server of before, with this model as its large one."""

    @contextmanager
    def server(stage: Stage) -> Iterator[psutil.Process]:
        log = stage.folder / "naive.log"
        command = [sys.executable, "-m", "benchmarks.savings.naive", "--base", base]
        with log.open("wb") as errors, bench.pinned(stage.server_cores):
            process = subprocess.Popen(
                [*command, "--port", str(stage.broker.port)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=bench.plain_environment(),
            )
        assert process.stdout is not None
        drain = threading.Thread(target=_drain, args=(process.stdout,))
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"the naive server did not start: {log.read_text()}")
            drain.start()
            yield psutil.Process(process.pid)
        finally:
            kill(process)
            if drain.is_alive():
                drain.join()
            process.stdout.close()

    filters = ("naive/+/audio", "naive/+/text")
    return Way("before", filters, server, _naive_speakers, _naive_judged)


def _drain(output: IO[bytes]) -> None:
    """Take the dots, one for each chunk that is done."""
    while output.read(64):
        pass


@contextmanager
def _naive_speakers(stage: Stage, rooms: Rooms) -> Iterator[Speakers]:
    files = write_wavs(rooms, stage.folder)
    command = [sys.executable, "-m", "benchmarks.savings.naive_client", str(stage.broker.port)]
    with bench.pinned(stage.other_cores):
        process = subprocess.Popen([*command, *(f"{name}={file}" for name, file in files.items())])
    try:
        heard = eventually(lambda: stage.listener.heard("/audio"), READY_TIMEOUT_S)
        # The first chunk is sent when its second is over.
        yield heard[0].at_s - 1.0, {"client": psutil.Process(process.pid)}
    finally:
        kill(process)


def _naive_judged(
    listener: Listener, rooms: Rooms, began_s: float, metered: Metered
) -> dict[str, Any]:
    texts = {
        room.name: latency.told(listener.heard(f"/{room.name}/text"), began_s) for room in rooms
    }
    spoken = {room.name: _until(room, metered.seconds) for room in rooms}
    waits = [
        wait for name, said in spoken.items() for wait in latency.naive_waits(said, texts[name])
    ]
    at_s = [round(max(one.at_s - began_s, 0.0), 1) for one in metered.during]
    owed = {
        room.name: [
            latency.behind(texts[room.name], len(room.samples) / SAMPLE_RATE, at) for at in at_s
        ]
        for room in rooms
    }
    stride = round(SERIES_STEP_S) if len(at_s) > 100 else 1
    return {
        "latency": {"with_hangover": latency.spread(waits, _least(spoken.values(), metered))},
        "texts": sum(map(len, texts.values())),
        "wer": {
            "all": latency.wer(
                (latency.said(said), latency.last_text(texts[name]))
                for name, said in spoken.items()
            ),
            "so_far": latency.wer(
                latency.heard_so_far(said, texts[name]) for name, said in spoken.items()
            ),
        },
        "behind": {
            "at_the_end_s": {name: seconds[-1] for name, seconds in owed.items()},
            "at_s": [*at_s[::stride], at_s[-1]],
            "rooms": {name: [*seconds[::stride], seconds[-1]] for name, seconds in owed.items()},
        },
    }


def _until(room: Room, end_s: float) -> list[Spoken]:
    """What was said in a room before the run ended."""
    return [one for one in room.spoken if one.end_s < end_s]


def _least(spoken: Iterable[Sequence[Spoken]], metered: Metered) -> list[float]:
    return [metered.seconds - one.end_s for said in spoken for one in said]


# stt-mqtt --------------------------------------------------------------------------------------


@contextmanager
def _our_server(stage: Stage) -> Iterator[psutil.Process]:
    with bench.a_service(stage.folder, stage.broker, stage.listener, stage.server_cores) as process:
        yield process


@contextmanager
def a_satellite(
    broker: Broker, device: str, folder: Path, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`stt-mqtt satellite` that hears its standard input; `settings`: its environment."""
    environment = {
        **os.environ,
        "STT_MQTT__MQTT__HOST": broker.host,
        "STT_MQTT__MQTT__PORT": str(broker.port),
        **settings,
    }
    with (folder / f"satellite-{device}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAM), "satellite", "--device", device, "--stdin"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        yield process
    finally:
        kill(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()


def speak(process: subprocess.Popen[bytes], pcm: bytes, began_s: float) -> None:
    """Write sound to a satellite as a microphone would: a frame when its last sample is spoken."""
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as microphone:
        for number, at in enumerate(range(0, len(pcm), FRAME_BYTES), start=1):
            time.sleep(max(began_s + number * FRAME_S - time.monotonic(), 0.0))
            microphone.write(pcm[at : at + FRAME_BYTES])
            microphone.flush()


@contextmanager
def _our_speakers(stage: Stage, rooms: Rooms) -> Iterator[Speakers]:
    with ExitStack() as stack:
        stack.enter_context(bench.pinned(stage.other_cores))
        satellites = {
            room.name: stack.enter_context(a_satellite(stage.broker, room.name, stage.folder))
            for room in rooms
        }
        for name in satellites:
            stage.listener.json(f"stt/{name}/satellite/state", timeout_s=READY_TIMEOUT_S)
        began_s = time.monotonic()
        threads = [
            threading.Thread(
                target=speak,
                args=(satellites[room.name], room.samples.astype("<i2").tobytes(), began_s),
            )
            for room in rooms
        ]
        for thread in threads:
            thread.start()
        yield began_s, {name: psutil.Process(one.pid) for name, one in satellites.items()}
        for thread in threads:
            thread.join()
        for name, satellite in satellites.items():
            if satellite.wait(END_TIMEOUT_S) != 0:
                log = (stage.folder / f"satellite-{name}.log").read_text()
                raise RuntimeError(f"the satellite {name} ended badly: {log[-2000:]}")


def _our_judged(
    listener: Listener, rooms: Rooms, began_s: float, metered: Metered
) -> dict[str, Any]:
    found = {
        room.name: latency.segments(
            listener.heard(f"stt/{room.name}/result"),
            listener.heard(f"stt/{room.name}/audio/stop"),
            began_s,
            HANGOVER_S,
        )
        for room in rooms
    }
    spoken = {room.name: _until(room, metered.seconds) for room in rooms}
    waits = [
        wait for name, said in spoken.items() for wait in latency.segment_waits(said, found[name])
    ]
    least = _least(spoken.values(), metered)
    without = [None if wait is None else wait - HANGOVER_S for wait in waits]
    of_service = [
        one.latency_s for held in found.values() for one in held if one.latency_s is not None
    ]
    strays = [latency.stray(room.spoken, found[room.name]) for room in rooms]
    return {
        "latency": {
            "with_hangover": latency.spread(waits, least),
            "without_hangover": latency.spread(without, least),
            "of_the_service_p50": bench.percentile(of_service, 0.5),
        },
        "results": sum(map(len, found.values())),
        "outcomes": latency.outcomes(found),
        "strays": {key: sum(one[key] for one in strays) for key in ("segments", "with_words")},
        "wer": {
            "all": latency.wer(
                (latency.said(said), " ".join(one.text for one in found[name] if one.text))
                for name, said in spoken.items()
            )
        },
    }


OURS = Way(
    "stt-mqtt",
    (
        "stt/+/result",
        "stt/+/audio/start",
        "stt/+/audio/stop",
        "stt/+/satellite/state",
        "stt/bridge/state",
    ),
    _our_server,
    _our_speakers,
    _our_judged,
)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, at once."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()
