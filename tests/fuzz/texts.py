"""Texts that people write: configuration, phrase templates and phrase files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stt_mqtt.config import read_config
from stt_mqtt.errors import ConfigError
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.grammar import GrammarError
from stt_mqtt.phrases.lint import findings_of
from stt_mqtt.phrases.names import HomeNames, names_in_lists
from stt_mqtt.phrases.source import intents_of, merge
from stt_mqtt.phrases.templates import TemplateError, TemplateParser
from tests.fuzz.target import Target
from tests.phrases.books import HOME

ROOT = Path(__file__).parents[2]
NAMES: HomeNames = names_in_lists({"name": ["lamp", "fan"], "area": ["kitchen"]})[0]
SECTIONS = (
    "devices:\n  kitchen: {language: en, codec: opus, rate: 48000}\n  'bed*': {on_cap: reject}\n",
    "mqtt: {host: a, port: 1883, tls: {ca_file: /x}}\nlimits: {max_devices: 3}\n",
    "engine:\n  model: tiny.en\n  ladder:\n  - {name: a, model: base}\n  - {name: b}\n",
    "wyoming: {listen: ['tcp://0.0.0.0:10300', 'unix:///run/x'], endpointing: server}\n",
    "phrases: {paths: [x.yaml], names: {drink: [tea, '1', 0x1]}, home_assistant: {url: 'h'}}\n",
    "web: {host: 127.0.0.1, port: 1, rooms: ['*'], url: 'https://h/'}\nlog: {level: debug}\n",
    "a: &x [1, 2]\nb: *x\n<<: {c: 1}\n? {d: 1}\n: !!binary aGk=\n--- |\n text\n",
)
TEMPLATES = (
    "turn on [the] {name}", "(turn|switch) (on|off) {name:thing} [in [the] {area}]", "<rule> {x}",
    "set {temperature} degree[s]", "(a;b;c)", "[please] <verb> all\\[s\\]", "{a:b} ((x|y)|z)",
)  # fmt: skip
FILES = (
    HOME,
    "language: en\nintents: {A: {data: [{sentences: ['turn on {name}'], slots: {x: 1}}]}}\n",
    "language: de\nintents:\n  A:\n    data:\n    - sentences: [<r> bis {n}]\n"
    "lists: {n: {range: {from: 0, to: 100, step: 5}}}\nexpansion_rules: {r: '(eins|zwei)'}\n",
    "language: en\nskip_words: [please]\nintents: {B: {data: [{sentences: ['say {t}'],\n"
    " requires_context: {area: {slot: true}}}]}}\nlists: {t: {wildcard: true}}\n",
)


def _config(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(ConfigError):
        read_config(text, "config.yaml", {})


def _environment(data: bytes) -> None:
    """Variables that override keys."""
    text = data.decode("utf-8", "replace").replace("\0", "")
    pairs = (line.partition("=") for line in text.splitlines())
    environ = {f"STT_MQTT_{name}": value for name, _, value in pairs}
    with suppress(ConfigError):
        read_config("", "config.yaml", environ)


def _template(data: bytes) -> None:
    parser = TemplateParser()
    for line in data.decode("utf-8", "replace").splitlines():
        with suppress(TemplateError):
            parser.parse(line)


def _phrases(data: bytes) -> None:
    """A phrase file, checked, linted and compiled for a home."""
    languages, problems = merge([("x.yaml", data.decode("utf-8", "replace"))], frozenset())
    if problems:
        return
    for written in languages.values():
        for finding in findings_of(written, NAMES):
            str(finding)
    book = PhraseBook({code: intents_of(one) for code, one in languages.items()}, NAMES)
    for code in languages:
        with suppress(GrammarError):
            book.compiled(code, "kitchen")


def _encoded(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _configurations() -> list[bytes]:
    example = (ROOT / "config" / "stt-mqtt.yaml").read_bytes()
    return [*_encoded(*SECTIONS)(), example[:2000]]


TARGETS = (
    Target("config", _config, 4_000, seeds=_configurations),
    Target(
        "environment",
        _environment,
        4_000,
        seeds=_encoded("MQTT__PORT=1\nLOG__LEVEL=debug\n", "DEVICES__KITCHEN__LANGUAGE=en\n"),
        max_bytes=400,
    ),
    Target("templates", _template, 30_000, seeds=_encoded(*TEMPLATES), max_bytes=400),
    Target("phrase-files", _phrases, 4_000, seeds=_encoded(*FILES)),
)
