"""A week of a busy house: many utterances, with everything that comes and goes between.

Six speakers ask one command after another, each through another door or codec, as fast as they are
answered. After each stretch there is a quiet moment: memory, files and threads are noted, and by
turns the configuration is reloaded, the model changed and changed back, and the broker started
again. Two speakers have a new name in each stretch, and Wyoming a new connection for each command.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.harness import Running, a_service, peak_mb, percentile, rss_mb, say, two_cores
from stt_mqtt.audio.encode import OpusEncoder
from stt_mqtt.demo.samples import SAMPLES, Sample
from tools.brokers import eventually, free_port
from tools.browsers import BrowserClient
from tools.clients import ANSWER_TIMEOUT_S, Answer, Hear, HermesClient, NativeClient, ask_wyoming
from tools.program import PATIENT
from tools.words import words

WARM_UP = 0.1
"""Share of the run that the slope leaves out: caches and the allocator fill up."""
SPOKEN_ON_OTHER = 6
"""Utterances on the other model, while it is there."""
MAX_DEVICES = 24
"""Fewer than names that come up, so that devices are forgotten all the time."""
COMPARED = 1000
"""Utterances at the beginning and at the end whose waits are compared."""
USUAL, OTHER = "usual", "other"
INFO_TOPIC, STATE_TOPIC = "stt/bridge/info", "stt/bridge/state"
RELOADED_TOPIC = "stt/bridge/response/reload"
DEFECTS = ("Traceback", "please report")
MAX_SLOPE_MB = 0.1
"""Growth of resident memory in 1,000 utterances."""
MAX_OPENED = 4
"""Files or threads that may be open in one quiet moment and not in another."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many utterances are spoken, in stretches with a quiet moment after each.

    `commands`: how many different ones.
    `swap_every`, `reconnect_every`: stretches between two changes of the model, and two starts of
    the broker.
    """

    utterances: int = 50_000
    stretch: int = 500
    swap_every: int = 2
    reconnect_every: int = 5
    commands: int = len(SAMPLES)


QUICK = Plan(42, 12, 1, 2, commands=2)


class OpusClient(NativeClient):
    """A satellite that sends Opus packets."""

    def hear(self, pcm: bytes) -> Answer:
        """Speak one utterance."""
        self._spoken += 1
        id = f"{self._device}-{self._spoken}"
        topic = f"stt/{self._device}/audio"
        self.publish(f"{topic}/start", json.dumps({"id": id, "codec": "opus", "language": "en"}))
        encoder = OpusEncoder(24)
        self.publish(topic, encoder.push(pcm))
        sent = self.publish(topic, encoder.finish())
        sent.wait_for_publish(ANSWER_TIMEOUT_S)
        ended = time.perf_counter()
        self.publish(f"{topic}/stop", json.dumps({"id": id, "chunks": 2}))
        result, latency_s = self.await_answer("id", id, ended)
        error = result["error"] and result["error"]["code"]
        return Answer(result["text"], latency_s, error, result)


@dataclass(slots=True)
class Ledger:
    """What the speakers got. Shared by their threads, guarded by `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    latency_s: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def note(self, who: str, text: str, answer: Answer) -> None:
        """Note an answer. Wrong is an error, or other words than were spoken."""
        with self.lock:
            self.asked[who] += 1
            self.latency_s.append(round(answer.latency_s, 4))
            if answer.error is not None or words(answer.text) != words(text):
                self.wrong[f"{who}: {answer.error or text}"] += 1


@dataclass(frozen=True, slots=True)
class Speakers:
    """The ways into the service. `lasting`: connected for the whole run."""

    running: Running
    wyoming_port: int
    web_port: int
    lasting: Mapping[str, Hear]
    commands: dict[str, list[Sample]] = field(default_factory=dict)
    """What each of them says: the commands that are heard right when nobody else speaks.

    A codec costs words. Which of the commands it costs them does not change.
    """

    def learn(self, samples: Sequence[Sample]) -> None:
        """Have each speaker say every command once."""
        with ExitStack() as stack:
            for who, hear in self.of_stretch(0, stack).items():
                heard = [(sample, hear(sample.pcm()).text) for sample in samples]
                self.commands[who] = [
                    sample for sample, text in heard if words(text) == words(sample.text)
                ]
                if len(self.commands[who]) < len(samples) / 2:
                    raise RuntimeError(f"{who} is not understood: {heard}")

    def of_stretch(self, number: int, stack: ExitStack) -> dict[str, Hear]:
        """All speakers of a stretch, with those that come for it and leave with `stack`."""
        visitor = NativeClient(self.running.broker, f"visitor-{number}")
        browser = BrowserClient(self.web_port, f"tablet-{number}")
        stack.callback(visitor.close)
        stack.callback(browser.close)
        return {
            **self.lasting,
            "visitor": visitor.hear,
            "browser": browser.hear,
            "wyoming": lambda pcm: ask_wyoming(self.wyoming_port, pcm),
        }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All stretches, and what changed between the first and the last."""
    plan = QUICK if options.quick else Plan()
    if options.utterances:
        plan = replace(plan, utterances=options.utterances)
    cores, wyoming_port, web_port = two_cores(), free_port(), free_port()
    rungs = [
        {"name": USUAL, "model": "tiny.en", "beam_size": 5, "compute_type": "int8"},
        {"name": OTHER, "model": "tiny.en", "beam_size": 1, "compute_type": "float32"},
    ]
    with (
        a_service(
            INFO_TOPIC,
            RELOADED_TOPIC,
            cores=cores,
            ladder={"rungs": rungs, "rung": USUAL},
            wyoming={"listen": [f"tcp://127.0.0.1:{wyoming_port}"]},
            web={"port": web_port},
            phrases={"builtin": True},
            limits={**PATIENT, "max_devices": MAX_DEVICES},
        ) as running,
        ExitStack() as stack,
    ):
        lasting: dict[str, Hear] = {}
        for name, make in {"pcm": NativeClient, "opus": OpusClient, "hermes": HermesClient}.items():
            client = make(running.broker, f"room-{name}")
            stack.callback(client.close)
            lasting[name] = client.hear
        speakers = Speakers(running, wyoming_port, web_port, lasting)
        ledger, samples = Ledger(), [sample_of(running, 0)]
        speakers.learn(SAMPLES[: plan.commands])
        for number in count(1):
            left = plan.utterances - sum(ledger.asked.values())
            speak(speakers, number, min(plan.stretch, left), ledger)
            samples.append(sample_of(running, sum(ledger.asked.values())))
            say(f"{samples[-1]}")
            if left <= plan.stretch:
                break
            come_and_go(speakers, number, plan, ledger)
        counters = running.health()["counters"]
        return {
            "plan": asdict(plan),
            "learned": sum(map(len, speakers.commands.values())),
            "said_once": len(speakers.commands) * plan.commands,
            "asked": dict(ledger.asked),
            "wrong": dict(ledger.wrong),
            "samples": samples,
            "peak_mb": peak_mb(running.process),
            "latency_s": ledger.latency_s,
            "outcomes": counters["outcomes"],
            "errors": counters["errors"],
            "dropped": counters["dropped"],
            "defects_in_log": sum(running.log.count(sign) for sign in DEFECTS),
        }


def speak(speakers: Speakers, number: int, wanted: int, ledger: Ledger) -> None:
    """One stretch: all speakers at once, until `wanted` utterances are answered."""
    with ExitStack() as stack:
        hears = speakers.of_stretch(number, stack)
        shares = {who: wanted // len(hears) for who in hears}
        shares["pcm"] += wanted % len(hears)
        threads = [
            threading.Thread(
                target=speak_one, args=(who, hear, speakers.commands[who], shares[who], ledger)
            )
            for who, hear in hears.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def speak_one(who: str, hear: Hear, commands: Sequence[Sample], share: int, ledger: Ledger) -> None:
    """Ask `share` commands, one after another, and again from the first one on."""
    recordings = cycle([(sample.text, sample.pcm()) for sample in commands])
    for _, (text, pcm) in zip(range(share), recordings, strict=False):
        try:
            answer = hear(pcm)
        except OSError as error:
            answer = Answer("", 0.0, type(error).__name__)
        ledger.note(who, text, answer)


def come_and_go(speakers: Speakers, number: int, plan: Plan, ledger: Ledger) -> None:
    """What happens in a quiet moment."""
    running = speakers.running
    reload(running)
    if number % plan.swap_every == 0:
        hold(running, OTHER)
        commands = speakers.commands["pcm"]
        speak_one("pcm", speakers.lasting["pcm"], commands, SPOKEN_ON_OTHER, ledger)
        hold(running, USUAL)
    if number % plan.reconnect_every == 0:
        reconnect(running)


def reload(running: Running) -> None:
    """Have the configuration read again."""
    before = len(running.peer.payloads(RELOADED_TOPIC))
    running.peer.publish("stt/bridge/request/reload")
    answer = running.peer.json(RELOADED_TOPIC, before + 1)[-1]
    if answer["status"] != "ok":
        raise RuntimeError(f"the service does not reload: {answer['error']}")


def hold(running: Running, rung: str) -> None:
    """Change the model, and wait until it is there."""
    running.peer.publish("stt/bridge/request/rung", json.dumps({"rung": rung}))

    def is_active() -> bool:
        told: str = json.loads(running.peer.payloads(INFO_TOPIC)[-1])["rung"]["active"]
        return told == rung

    eventually(is_active, ANSWER_TIMEOUT_S)


def reconnect(running: Running) -> None:
    """Start the broker again, and wait until the service and the speakers are back."""
    before = len(running.peer.payloads(STATE_TOPIC))
    running.broker.stop()
    running.broker.start()
    eventually(lambda: b"online" in running.peer.payloads(STATE_TOPIC)[before:], ANSWER_TIMEOUT_S)
    # The speakers of others are back when they hear an answer.
    running.health()


def sample_of(running: Running, utterances: int) -> dict[str, Any]:
    """What the process holds in a quiet moment."""
    process = running.process
    return {
        "utterances": utterances,
        "rss_mb": rss_mb(process),
        "files": process.num_fds(),
        "threads": process.num_threads(),
        "devices": len(running.health()["devices"]),
    }


def judged(data: Mapping[str, Any]) -> dict[str, Any]:
    """Slope, spread and waits after the warm-up."""
    samples = [
        one for one in data["samples"] if one["utterances"] >= WARM_UP * data["plan"]["utterances"]
    ] or data["samples"]
    spoken = [one["utterances"] / 1000 for one in samples]
    slope = float(np.polyfit(spoken, [one["rss_mb"] for one in samples], 1)[0])
    latency_s, compared = data["latency_s"], min(COMPARED, len(data["latency_s"]) // 3)
    first = percentile(latency_s[compared : 2 * compared], 0.95)
    last = percentile(latency_s[-compared:], 0.95)
    return {
        "slope_mb": round(slope, 3),
        "compared": compared,
        "first_p95_s": first,
        "last_p95_s": last,
        "growth": None if not first or last is None else round(last / first - 1, 3),
        **{name: spread_of(samples, name) for name in ("rss_mb", "files", "threads", "devices")},
    }


def spread_of(samples: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Lowest and highest."""
    values = [one[name] for one in samples]
    return min(values), max(values)


def lost(data: Mapping[str, Any]) -> list[str]:
    """Wrong answers, counters that do not add up, growth, and defects."""
    found = [f"{what}, {number} times" for what, number in data["wrong"].items()]
    asked = sum(data["asked"].values()) + data["said_once"]
    counted = sum(data["outcomes"].values())
    if asked != counted:
        found.append(f"{asked} utterances, but {counted} outcomes were counted")
    if data["errors"]:
        found.append(f"errors: {report.counts(data['errors'])}")
    if data["defects_in_log"]:
        found.append(f"{data['defects_in_log']} defects in the log")
    if not data["quick"]:
        figures = judged(data)
        if figures["slope_mb"] > MAX_SLOPE_MB:
            found.append(f"memory grows by {figures['slope_mb']} MB in 1,000 utterances")
        found += [
            f"{name} grew: {figures[name]}"
            for name in ("files", "threads")
            if figures[name][1] - figures[name][0] > MAX_OPENED
        ]
    return found


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    figures = judged(data)
    rows = [
        [name, data["samples"][0][key], *figures[key], data["samples"][-1][key]]
        for name, key in (
            ("resident MB", "rss_mb"),
            ("open files and sockets", "files"),
            ("threads", "threads"),
            ("devices that are known", "devices"),
        )
    ]
    asked, plan = data["asked"], Plan(**data["plan"])
    return [
        "# Long run",
        "",
        f"{sum(asked.values())} utterances by six speakers at once "
        f"({', '.join(f'{who} {number}' for who, number in asked.items())}). After every "
        f"{plan.stretch} the configuration is reloaded, after every "
        f"{plan.swap_every * plan.stretch} the model is "
        f"changed for {SPOKEN_ON_OTHER} utterances and back, after every "
        f"{plan.reconnect_every * plan.stretch} the broker starts again. Two speakers have a new "
        f"name every {plan.stretch} utterances; the service may know {MAX_DEVICES} devices. "
        f"Before, each speaker says every command once. It goes on with those heard right: "
        f"{data['learned']} of {data['said_once']}.",
        "",
        *report.table(["after the warm-up", "at the start", "lowest", "highest", "last"], rows),
        "",
        f"Resident memory after the first {WARM_UP:.0%} grows by {figures['slope_mb']} MB in 1,000 "
        f"utterances; its peak is {data['peak_mb']} MB. The 95th percentile of the wait is "
        f"{figures['first_p95_s']} s for {figures['compared']} utterances after the first "
        f"{figures['compared']} and {figures['last_p95_s']} s for the last ones "
        f"({report.number('{:+.0%}', figures['growth'])}). Wrong answers: "
        f"{report.counts(data['wrong'])}. Outcomes that the service counted: "
        f"{report.counts(data['outcomes'])}; errors: {report.counts(data['errors'])}; dropped: "
        f"{report.counts(data['dropped'])}. Defects in its log: {data['defects_in_log']}.",
        "",
        "![Memory, files, threads and waits over the run](soak.png)",
    ]


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """Memory, files and threads, and the wait, over the utterances."""
    spoken = [one["utterances"] for one in data["samples"]]
    waits = data["latency_s"]
    step = data["plan"]["stretch"]
    starts = range(0, len(waits), step)
    p95 = [percentile(waits[at : at + step], 0.95) or 0.0 for at in starts]

    def curve(name: str, colour: str) -> report.Curve:
        return report.Curve(spoken, [one[name] for one in data["samples"]], colour, name)

    panels = [
        report.Panel("resident MB", [report.Curve(spoken, curve("rss_mb", "C0").y, "C0")]),
        report.Panel("files, threads", [curve("files", "C1"), curve("threads", "C2")]),
        report.Panel(
            "p95 of the wait, s", [report.Curve(list(starts), p95, "C3")], "utterances spoken"
        ),
    ]
    report.plot(folder / "soak.png", "Long run", [panels])


if __name__ == "__main__":
    benchmark = report.Benchmark("soak", measure, page, lost, draw, needs_speech=False)
    arguments = report.parser(__doc__)
    arguments.add_argument("--utterances", type=int, help=f"default: {Plan().utterances}")
    sys.exit(report.run(benchmark, arguments))
