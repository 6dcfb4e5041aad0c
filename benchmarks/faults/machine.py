"""Faults of process, disk, clock, memory and model."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults import broken_model
from benchmarks.faults.broken_model import VICTIM
from benchmarks.faults.house import BATH, Fault, Hits, House, Setup
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.types import SAMPLE_RATE
from tools.program import Peer

BURST = 60
"""Utterances that come at once; the queue takes 64."""
STILL_S = 5.0
BROKER_LATER_S = 10.0
CLOCK_S = 3600
LATER_S = 10.0
"""How long rooms speak on with a clock or a disk that is not right."""
NEAR_S = 60.0
SOON_S = 30.0
MIN_STAY_S = 2.0
INFERENCE_TIMEOUT_S = 5.0
ADDRESS_SPACE_LEFT = 100_000_000
"""Enough to transcribe, and not enough for another model."""
FILES_LEFT = 4
CONNECTIONS = 30
LINES = 1000
"""Each is a warning of 85 bytes, and a pipe holds 64 KiB."""
ROOM_LEFT = 200
"""Bytes that the disk takes before it is full: a line and a half of the log."""
RUNG_TOPIC = "stt/bridge/response/rung"
FOLDER = Path(__file__).parent
CLOCK_SOURCE = FOLDER / "clock_shift.c"
UNKNOWN_USER = 54321
"""A user without a name and a home."""


def _shell(script: str) -> Sequence[str]:
    """Words before those of the program, with a script that ends with `exec "$@"`."""
    return ("sh", "-ec", script, "sh")


# The process ------------------------------------------------------------------------------------


def kill_service(house: House) -> None:
    """The service is killed in mid-utterance."""
    house.await_speech(BATH)
    house.service.process.kill()
    _await_start(house)


def _await_start(house: House) -> None:
    starts = house.happened[-1].starts_before
    house.await_(lambda: house.service.starts > starts, SOON_S, "the service is started again")


def terminate_under_load(house: House) -> None:
    """The service is told to stop while rooms speak and more waits than it can transcribe."""
    with closing(Peer(house.broker, "stt/+/result")) as peer:

        def answers() -> list[dict[str, Any]]:
            return [one for _, one in peer.results() if one["device"].startswith("load-")]

        house.await_speech(BATH)
        for number in range(BURST):
            peer.publish(f"stt/load-{number}/utterance", house.recordings[0].pcm)
        status = house.service.restart()
        house.await_(lambda: len(answers()) >= BURST, SOON_S, f"all of {BURST} are answered")
        found = Counter(
            "text" if one["error"] is None else one["error"]["code"] for one in answers()
        )
        rooms = Counter(one["device"] for one in answers())
    house.check(status == 0, f"exit status {status}")
    house.check(max(rooms.values()) == 1, "an utterance has more than one outcome")
    allowed = {"text", "shutting_down", "expired", "overloaded"}
    house.check(set(found) <= allowed, f"outcomes {dict(found)}")
    counts = ", ".join(f"{count} {name}" for name, count in found.most_common())
    house.note(f"of {BURST} that waited: {counts}")


def terminate_while_loading(house: House) -> None:
    """The service is told to stop again before its model is loaded."""
    house.service.restart()
    house.await_log("loading model", SOON_S)
    status = house.service.restart()
    house.check(status == 0, f"exit status {status}")


def stand_still(house: House) -> None:
    """The service stands still while a microphone without marks speaks."""
    pcm = b"".join(sample.pcm() for sample in SAMPLES[:4])
    size = int(0.1 * SAMPLE_RATE) * 2
    chunks = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    stop_at, on_at = 20, 20 + round(STILL_S / 0.1)
    began = time.monotonic()
    with closing(Peer(house.broker, "stt/porch/result")) as peer:
        for number, chunk in enumerate(chunks):
            time.sleep(max(began + number * 0.1 - time.monotonic(), 0.0))
            if number in (stop_at, on_at):
                signals = {stop_at: signal.SIGSTOP, on_at: signal.SIGCONT}
                house.service.process.send_signal(signals[number])
            peer.publish("stt/porch/audio", chunk)
        peer.json("stt/porch/result", timeout_s=SOON_S)
        time.sleep(2.0)
        results = peer.json("stt/porch/result")
    heard = [(one["end"], round(one["audio_s"], 1)) for one in results]
    whole = [("gap", round(len(pcm) / 2 / SAMPLE_RATE, 1))]
    house.check(heard == whole, f"without marks: {heard} instead of {whole}")
    house.note(f"a microphone without marks: {len(results)} utterance of {heard[0][1]} s")


def power_cut(house: House) -> None:
    """Broker and service end at once; the broker is back later than the service."""
    house.await_speech(BATH)
    house.broker.kill()
    house.service.process.kill()
    time.sleep(BROKER_LATER_S)
    house.broker.start()
    _await_start(house)


def take_core(house: House) -> None:
    """The service has one core, and shares it with another program that always works."""
    pid = house.service.process.pid
    cores = sorted(os.sched_getaffinity(pid))
    with _busy(cores[0]):
        _run_on(pid, {cores[0]})
        time.sleep(LATER_S)
        _run_on(pid, set(cores))


def _run_on(pid: int, cores: set[int]) -> None:
    """Have all threads of a process run on these cores."""
    for task in psutil.Process(pid).threads():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(task.id, cores)


@contextmanager
def _busy(core: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    os.sched_setaffinity(process.pid, {core})
    try:
        yield
    finally:
        process.kill()
        process.wait()


# Limits of the machine --------------------------------------------------------------------------


@contextmanager
def _limited(house: House, what: int, most: int) -> Iterator[None]:
    """The service has a limit (`ulimit`) for a while."""
    pid = house.service.process.pid
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, before[1]))
    try:
        yield
    finally:
        # If the process has ended, its row says so.
        with suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


def run_out_of_files(house: House) -> None:
    """Connections take all file descriptors that the service may open."""
    process = psutil.Process(house.service.process.pid)
    most = process.num_fds() + FILES_LEFT
    with ExitStack() as stack, _limited(house, resource.RLIMIT_NOFILE, most):
        for _ in range(CONNECTIONS):
            address = ("127.0.0.1", house.wyoming_port)
            stack.enter_context(socket.create_connection(address, SOON_S))
        time.sleep(LATER_S)


def fill_disk(house: House) -> None:
    """The disk takes nothing more of the log."""
    length = house.service.log_file.stat().st_size + ROOM_LEFT
    with _limited(house, resource.RLIMIT_FSIZE, length):
        time.sleep(LATER_S)
    house.await_log("lines were dropped here", SOON_S)


def leave_no_memory(house: House) -> None:
    """The rung `best` is asked for while there is no memory for its model; later there is."""
    size = psutil.Process(house.service.process.pid).memory_info().vms
    with _limited(house, resource.RLIMIT_AS, size + ADDRESS_SPACE_LEFT):
        _ask_for(house, "best")
        house.await_log("has to wait: ", SOON_S)
        time.sleep(LATER_S)
        house.check(_rung(house)["active"] == "fast", "the old rung keeps serving")
    loaded = house.await_(lambda: _rung(house)["active"] == "best", SOON_S, "the rung is changed")
    if loaded:
        house.note("with memory again, the model is loaded")
    _ask_for(house, "fast")
    house.await_(lambda: _rung(house)["active"] == "fast", SOON_S, "the rung is changed back")


def remove_model(house: House) -> None:
    """The folder of the model of the rung `best` is removed, and then the rung is asked for."""
    folder = house.folder / BEST
    folder.rename(house.folder / "elsewhere")
    _ask_for(house, "best")
    house.await_log("staying on fast", SOON_S)
    time.sleep(LATER_S)
    house.check(_rung(house)["active"] == "fast", "the old rung keeps serving")
    (house.folder / "elsewhere").rename(folder)


def _ask_for(house: House, rung: str) -> None:
    asked = len(house.witness.payloads(RUNG_TOPIC))
    house.witness.publish("stt/bridge/request/rung", json.dumps({"rung": rung}))
    answer = house.witness.json(RUNG_TOPIC, asked + 1)[asked]
    house.check(answer["status"] == "ok", f"the rung {rung} is refused: {answer['error']}")


def _rung(house: House) -> dict[str, Any]:
    rung: dict[str, Any] = json.loads(house.witness.payloads("stt/bridge/info")[-1])["rung"]
    return rung


BEST = "best-model"


def _with_model(folder: Path) -> Sequence[str]:
    """The program runs in the folder of the house, which has a model of its own."""
    shutil.copytree(resolve("tiny.en", default_models_dir()).folder, folder / BEST)
    return _shell(f'cd {folder}; exec "$@"')


WITH_LADDER = Setup(
    config={
        "ladder": {
            "rungs": [
                {"name": "best", "model": f"./{BEST}"},
                {"name": "fast", "model": "tiny.en"},
            ],
            "rung": "fast",
            "min_stay_s": MIN_STAY_S,
        }
    },
    launcher=_with_model,
)

# The log ----------------------------------------------------------------------------------------


def _with_reader(folder: Path) -> Sequence[str]:
    """A program reads standard error through a pipe, and writes the log."""
    fifo, pid = folder / "pipe", folder / "reader"
    os.mkfifo(fifo)
    return _shell(f'cat {fifo} >&2 & echo $! > {pid}; exec "$@" 2> {fifo}')


WITH_READER = Setup(launcher=_with_reader)


def leave_log_unread(house: House) -> None:
    """Who reads the log stands still, until the pipe is full and some time longer."""
    reader = int((house.folder / "reader").read_text())
    os.kill(reader, signal.SIGSTOP)
    with closing(Peer(house.broker)) as peer:
        for number in range(LINES):
            peer.publish(f"stt/noise-{number % 50}/audio/start", "no JSON")
    time.sleep(LATER_S)
    with (house.folder / "pipe").open("wb") as pipe:
        _, has_room, _ = select.select([], [pipe], [], 0.0)
    os.kill(reader, signal.SIGCONT)
    house.check(not has_room, "the pipe is full")
    house.await_(
        lambda: house.new_log().count("bad_payload") >= LINES, SOON_S, f"{LINES} lines of the log"
    )
    house.note("all of the log is there later")


# The model --------------------------------------------------------------------------------------

_TRIGGER = "trigger"


def _with_broken_model(folder: Path) -> Sequence[str]:
    return (sys.executable, broken_model.__file__, str(folder / _TRIGGER))


WITH_BROKEN_MODEL = Setup(
    config={
        "engine": {"workers": 2, "max_batch": 1},
        "limits": {"inference_timeout_s": INFERENCE_TIMEOUT_S},
    },
    launcher=_with_broken_model,
)


def raise_in_inference(house: House) -> None:
    """Every inference for one device raises an exception that nobody thought of."""
    codes = _victims(house, "raise", 3, SOON_S)
    house.check(codes == ["inference_failed"] * 3, f"its outcomes: {codes}")


def hang_in_inference(house: House) -> None:
    """The inference for one device hangs, in one of two threads."""
    codes = _victims(house, "hang", 1, SOON_S)
    house.check(codes == ["inference_timeout"], f"its outcomes: {codes}")


def hang_in_all_threads(house: House) -> None:
    """Both threads hang."""
    codes = _victims(house, "hang", 2, SOON_S, rooms=2)
    house.check(set(codes) <= {"inference_timeout", "shutting_down"}, f"its outcomes: {codes}")
    _await_start(house)


def _victims(
    house: House, what: str, count: int, timeout_s: float, rooms: int = 1
) -> list[str | None]:
    """The codes of `count` utterances of the device whose inference is broken."""
    trigger = house.folder / _TRIGGER
    trigger.write_text(what)
    try:
        with closing(Peer(house.broker, f"stt/{VICTIM}/result")) as peer:
            for number in range(count):
                peer.publish(f"stt/{VICTIM}/utterance", house.recordings[0].pcm)
                if rooms == 1:
                    peer.json(f"stt/{VICTIM}/result", number + 1, timeout_s)
            results = peer.json(f"stt/{VICTIM}/result", count, timeout_s)
    finally:
        trigger.unlink()
    return [one["error"] and one["error"]["code"] for one in results]


# The clock --------------------------------------------------------------------------------------


def _compiler_missing() -> str | None:
    return None if shutil.which("gcc") else "needs gcc, for a clock that can be moved"


def _with_clock(folder: Path) -> Sequence[str]:
    library, shift = folder / "clock_shift.so", folder / "shift"
    shift.write_text("0")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return ("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={shift}")


WITH_CLOCK = Setup(launcher=_with_clock, missing=_compiler_missing)


def clock_forward(house: House) -> None:
    """The wall clock jumps an hour ahead."""
    _jump(house, CLOCK_S)


def clock_back(house: House) -> None:
    """The wall clock jumps an hour back."""
    _jump(house, -CLOCK_S)


def _jump(house: House, seconds: int) -> None:
    file = house.folder / "shift"
    shift = int(file.read_text()) + seconds
    # As a whole: the service must not read an empty file.
    (house.folder / "new").write_text(str(shift))
    (house.folder / "new").rename(file)
    jumped = time.monotonic()
    time.sleep(LATER_S)
    off_s = [house.health()["ts"] - time.time() - shift]
    off_s += [
        json.loads(heard.payload)["ts"] - time.time() + (time.monotonic() - heard.at) - shift
        for spoken in list(house.ledger.spoken)
        for heard in spoken.answers
        if heard.payload and spoken.opened_at > jumped
    ]
    house.check(len(off_s) > 1, "somebody was heard")
    house.check(max(map(abs, off_s)) < NEAR_S, f"`ts` follows the clock, not by {max(off_s):.0f} s")
    house.note(f"`ts` of {len(off_s)} messages follows")


# File system and user ---------------------------------------------------------------------------


def _read_only_missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root: mounts, and another user"
    tools = [name for name in ("unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    if tools:
        return f"needs {', '.join(tools)} (util-linux)"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "needs the right to make a private mount namespace"


_READ_ONLY = "mount -o remount,bind,ro /"


def _alone(folder: Path) -> Sequence[str]:
    """The file system is that of the service alone. With the file `nobody`, nobody starts it."""
    folder.chmod(0o755)
    user = (
        f"exec env -u HOME -u XDG_CACHE_HOME -u XDG_STATE_HOME TMPDIR=/nonexistent setpriv "
        f'--reuid {UNKNOWN_USER} --regid {UNKNOWN_USER} --clear-groups "$@"'
    )
    start = f"if [ -e {folder}/nobody ]; then {_READ_ONLY}; {user}; fi"
    return ("unshare", "--mount", *_shell(f'{start}; exec "$@"'))


ALONE = Setup(launcher=_alone, missing=cache(_read_only_missing))


def make_read_only(house: House) -> None:
    """The file system of the service becomes read-only, as after an error of the disk."""
    _remount(house, "ro")
    time.sleep(LATER_S)
    _remount(house, "rw")


def _remount(house: House, how: str) -> None:
    target = ["nsenter", "--mount", "--target", str(house.service.process.pid)]
    subprocess.run([*target, "mount", "-o", f"remount,bind,{how}", "/"], check=True)


def start_as_nobody(house: House) -> None:
    """The service starts with nothing: no home, no folder that it can write, no name."""
    (house.folder / "nobody").touch()
    house.service.process.kill()
    _await_start(house)


READY = "model .* is ready"

FAULTS: tuple[Fault, ...] = (
    Fault("service killed in mid-utterance", "service", kill_service, Hits.ALL, READY, dies=True),
    Fault(
        f"SIGTERM while rooms speak and {BURST} utterances wait, then started again",
        "service",
        terminate_under_load,
        Hits.ALL,
        "stopping: what is still to be transcribed gets",
        dies=True,
    ),
    Fault(
        "SIGTERM while a model loads, then started again",
        "service",
        terminate_while_loading,
        Hits.ALL,
        "stopping before the model is loaded",
        dies=True,
    ),
    Fault(
        f"service frozen (SIGSTOP) for {STILL_S:g} s while a microphone without marks speaks",
        "service",
        stand_still,
        Hits.ALL,
        spares=True,
    ),
    Fault(
        f"power cut: broker and service killed, the broker back after {BROKER_LATER_S:g} s",
        "service",
        power_cut,
        Hits.ALL,
        dies=True,
    ),
    Fault(
        f"one core, shared with a program that always works, for {LATER_S:g} s",
        "machine",
        take_core,
        Hits.ALL,
        spares=True,
    ),
    Fault(
        f"no file descriptors left, with {CONNECTIONS} connections over Wyoming",
        "machine",
        run_out_of_files,
        Hits.WYOMING,
        "cannot accept clients on .*: Too many open files",
    ),
    Fault(
        "disk full: no byte more for the log (RLIMIT_FSIZE)",
        "machine",
        fill_disk,
        Hits.NOBODY,
        "lines were dropped here: the log could not be written",
    ),
    Fault(
        "no memory for the model of the next rung (RLIMIT_AS)",
        "machine",
        leave_no_memory,
        Hits.NOBODY,
        "staying on fast, best has to wait",
        setup=WITH_LADDER,
    ),
    Fault(
        "model folder removed, then its rung asked for",
        "model",
        remove_model,
        Hits.NOBODY,
        "staying on fast, rung best cannot be used until a restart",
        setup=WITH_LADDER,
    ),
    Fault(
        f"standard error that nobody reads for {LATER_S:g} s, with the pipe full",
        "machine",
        leave_log_unread,
        Hits.NOBODY,
        setup=WITH_READER,
    ),
    Fault(
        "an inference that raises (the engine raises for one device)",
        "model",
        raise_in_inference,
        Hits.NOBODY,
        "inference failed: unexpected RuntimeError",
        setup=WITH_BROKEN_MODEL,
        raises=True,
    ),
    Fault(
        "an inference that hangs in one of two threads (the engine sleeps for one device)",
        "model",
        hang_in_inference,
        Hits.NOBODY,
        "an inference thread hangs and is given up",
        setup=WITH_BROKEN_MODEL,
    ),
    Fault(
        "inferences that hang in both threads",
        "model",
        hang_in_all_threads,
        Hits.ALL,
        "all inference threads hang",
        setup=WITH_BROKEN_MODEL,
        dies=True,
    ),
    Fault(
        "the clock jumps an hour ahead",
        "machine",
        clock_forward,
        Hits.NOBODY,
        setup=WITH_CLOCK,
    ),
    Fault("the clock jumps an hour back", "machine", clock_back, Hits.NOBODY, setup=WITH_CLOCK),
    Fault(
        f"file system read-only for {LATER_S:g} s",
        "machine",
        make_read_only,
        Hits.NOBODY,
        setup=ALONE,
    ),
    Fault(
        "started on a read-only file system, without HOME, XDG_* and TMPDIR, as an unknown user",
        "machine",
        start_as_nobody,
        Hits.ALL,
        READY,
        setup=ALONE,
        dies=True,
    ),
)
