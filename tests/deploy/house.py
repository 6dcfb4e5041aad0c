"""A whole house at a broker with least rights: all programs, and everything that they say.

Every secret is a random text, and what is said and configured has words that nothing else has. So
each of them can be searched for in everything that was printed, logged, published or served.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import yaml

from stt_mqtt.demo.samples import SAMPLES
from tests.deploy.secured import ORACLE, Person, SecuredBroker, secured_broker
from tests.e2e.test_names import home_in_a_thread
from tools.brokers import eventually, free_port
from tools.clients import ask_wyoming, wav
from tools.program import PATIENT, PROGRAM, Service
from tools.satellite import SatelliteProcess, scene

ROOM, OTHER_ROOM = "den", "attic"
(SPOKEN,) = [sample for sample in SAMPLES if "garage" in sample.text]
WORD = "garage"
"""A spoken word that no program says by itself."""
PROMPT, HOTWORD, PHRASE, NAME = "Quixotry", "Zugzwang", "Brouhaha", "Flibbertigibbet"
"""Words of the configuration, for the room and for the phrase book."""
BOOK = f"""language: en
intents:
  Anything:
    data:
      - sentences: ["{PHRASE.lower()} the {{thing}}"]
"""
REPLIES = (
    f"stt/{OTHER_ROOM}/reply/here", f"stt/{ROOM}/set", f"stt/{ROOM}/reply/", "homeassistant/status",
    "stt/bridge/request/reload", f"stt/{ROOM}/reply/+", f"stt/{ROOM}/reply/x/#",
    f"stt/{ROOM}/reply/here",
)  # fmt: skip
"""Where a satellite asks for copies of its results. Only the last one is its own."""
PAGES = ("/", "/mic", "/metrics", "/healthz", "/readyz", "/events", "/login", "/nowhere")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was said. `messages`: of the broker, topic and payload."""

    secrets: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    """Output, log or HTTP answer, by what it is of."""
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    core_limits: dict[str, str] = field(default_factory=dict)
    """The largest core dump of each program, in bytes."""


@dataclass(frozen=True, slots=True)
class _TlsAddress:
    """The broker's encrypted port."""

    host: str
    port: int


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class House:
    """The programs, and what they have said so far."""

    def __init__(self, folder: Path, broker: SecuredBroker, home_port: int) -> None:
        self.folder = folder
        self.broker = broker
        self.web_port, self.wyoming_port = free_port(), free_port()
        self.web_token, self.home_token = token_hex(16), token_hex(16)
        self.wrong_password = token_hex(16)
        self.evidence = Evidence(
            {
                **{f"password of {user}": word for user, word in broker.passwords.items()},
                "token of the pages": self.web_token,
                "token of Home Assistant": self.home_token,
                "a wrong password": self.wrong_password,
            }
        )
        for name, secret in (("web-token", self.web_token), ("home-token", self.home_token)):
            (folder / name).write_text(secret)
        (folder / "book.yaml").write_text(BOOK)
        self.config: dict[str, Any] = {
            "mqtt": self.login("stt"),
            "limits": PATIENT,
            "web": {"port": self.web_port, "token_file": str(folder / "web-token")},
            "wyoming": {"listen": [f"tcp://127.0.0.1:{self.wyoming_port}"]},
            "device_defaults": {"prompt": PROMPT, "hotwords": [HOTWORD], "partials": True},
            "phrases": {
                "paths": [str(folder / "book.yaml")],
                "names": {"thing": [NAME]},
                "home_assistant": {
                    "url": f"http://127.0.0.1:{home_port}",
                    "token_file": str(folder / "home-token"),
                },
            },
        }

    def login(self, user: str) -> dict[str, Any]:
        """The section `mqtt` of a program with the login of a user."""
        return {
            "host": self.broker.host,
            "port": self.broker.tls_port,
            "username": user,
            "password_file": str(self.broker.password_file(user)),
            "tls": {"ca_file": str(self.broker.ca)},
        }

    def environment(self, user: str, password: str | None = None) -> dict[str, str]:
        """The same as variables, with the password itself."""
        return {
            "MQTT__USERNAME": user,
            "MQTT__PASSWORD": self.broker.passwords[user] if password is None else password,
            "MQTT__TLS__CA_FILE": str(self.broker.ca),
        }

    def command(self, what: str, *arguments: str, **environ: str) -> None:
        """Run a command to its end, and keep what it says."""
        settings = {f"STT_MQTT__{name}": value for name, value in environ.items()}
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **settings},
        )
        self.evidence.said[f"output of {what}"] = done.stdout
        self.evidence.said[f"errors of {what}"] = done.stderr

    def satellite(self) -> list[str]:
        """A satellite program speaks; the lines that it printed."""
        address = _TlsAddress(self.broker.host, self.broker.tls_port)
        recording = str(scene(self.folder, [SPOKEN]))
        satellite = SatelliteProcess(
            self.folder,
            address,  # type: ignore[arg-type]
            ROOM,
            *("--file", recording, "--fast"),
            **self.environment(ROOM),
            LOG__LEVEL="debug",
        )
        self.look_at("satellite", satellite.process.pid)
        lines = satellite.end()
        self.evidence.said["output of satellite"] = "\n".join(lines)
        self.evidence.said["log of satellite"] = satellite.log
        return lines

    def pages(self) -> None:
        """Ask for every page without a token, with a wrong one, with the right one, by cookie."""
        said = self.evidence.said
        right = {"Authorization": f"Bearer {self.web_token}"}
        login, headers = self._ask("/login", {}, token=self.web_token)
        cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
        session = cookie["Cookie"].partition("=")[2]
        self.evidence.secrets["cookie"] = session
        # There it belongs.
        said["page /login, right"] = login.replace(session, "")
        said["page /login, wrong"] = self._ask("/login", {}, token=self.wrong_password)[0]
        said["page /selfcheck"] = self._ask("/selfcheck", right, nothing="")[0]
        for path in PAGES:
            for who, given in (("nobody", {}), ("token", right), ("cookie", cookie)):
                said[f"page {path}, {who}"] = self._ask(path, given)[0]
        assert f'"{ROOM}"' in said["page /events, token"]

    def _ask(self, path: str, headers: Mapping[str, str], **form: str) -> tuple[str, Message]:
        """The answer, of an endless one the first two events. With a form it is a POST."""
        url = f"http://127.0.0.1:{self.web_port}{path}"
        data = urlencode(form).encode() if form else None
        request = urllib.request.Request(url, data, {"Origin": url.removesuffix(path), **headers})
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            answer = opener.open(request, timeout=60)
        except HTTPError as refusal:
            answer = refusal
        with answer:
            if answer.headers.get_content_type() == "text/event-stream":
                # The first one says only when to try again.
                events = [b"".join(iter(answer.readline, b"\n")) for _ in range(2)]
                return b"".join(events).decode(), answer.headers
            return f"{answer.headers}\n{answer.read().decode()}", answer.headers

    def look_at(self, name: str, pid: int) -> None:
        """Keep the command line of a program."""
        self.evidence.said[f"command line of {name}"] = Path(f"/proc/{pid}/cmdline").read_text()

    def look_at_limits(self, name: str, pid: int) -> None:
        """Keep the limit of core dumps of a program that has begun to work."""
        process = Path("/proc") / str(pid)
        limits = (process / "limits").read_text().splitlines()
        (limit,) = [line for line in limits if line.startswith("Max core file size")]
        self.evidence.core_limits[name] = limit.split()[4]


class Watcher:
    """`stt-mqtt watch` with a user who may only read."""

    def __init__(self, house: House) -> None:
        self._house = house
        config = house.folder / "watch.yaml"
        config.write_text(yaml.safe_dump({"mqtt": house.login("watch")}))
        self._files = [(house.folder / name).open("wb") for name in ("watch.out", "watch.err")]
        output, errors = self._files
        self.process = subprocess.Popen(
            [str(PROGRAM), "watch", "--config", str(config)], stdout=output, stderr=errors
        )

    @property
    def output(self) -> str:
        """What it printed so far."""
        return (self._house.folder / "watch.out").read_text()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        for file in self._files:
            file.close()
        self._house.evidence.said["output of watch"] = self.output
        self._house.evidence.said["errors of watch"] = (
            self._house.folder / "watch.err"
        ).read_text()


@contextmanager
def a_house(folder: Path) -> Iterator[House]:
    """A house in which everything has happened, and all programs have ended."""
    with ExitStack() as stack:
        stack.enter_context(_core_dumps_allowed())
        users = (ROOM, OTHER_ROOM, "stt", "homeassistant", "watch", ORACLE)
        broker = stack.enter_context(secured_broker(folder, users))
        home = stack.enter_context(home_in_a_thread())
        house = House(folder, broker, home.port)
        oracle = stack.enter_context(closing(Person(broker, ORACLE)))
        oracle.subscribe("#")
        service = Service(folder, broker, **house.config)
        stack.callback(service.stop)
        with closing(Watcher(house)) as watch:
            eventually(lambda: _is_online(service, oracle))
            house.look_at("service", service.process.pid)
            house.look_at_limits("service", service.process.pid)
            house.look_at("watch", watch.process.pid)
            _live(house, service, watch)
        _ask_for_much(house, service, oracle)
        assert service.stop() == 0
        house.evidence.said["log of service"] = service.log
        house.evidence.said["log of broker"] = (folder / "broker.log").read_text()
        house.evidence.messages.extend(oracle.heard)
        yield house


@contextmanager
def _core_dumps_allowed() -> Iterator[None]:
    """The programs start with this limit, as far as this machine allows it."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def _is_online(service: Service, oracle: Person) -> bool:
    assert service.process.poll() is None, service.log
    return ("stt/bridge/state", b"online") in oracle.heard


def _live(house: House, service: Service, watch: Watcher) -> None:
    """Somebody speaks, and looks at everything."""
    lines = house.satellite()
    assert WORD in " ".join(lines)
    eventually(lambda: WORD in watch.output)
    words = ask_wyoming(house.wyoming_port, SPOKEN.pcm()).text
    house.evidence.said["answer of Wyoming"] = words
    house.pages()
    config = ("--config", str(service.config_file))
    (house.folder / "wrong").write_text(house.wrong_password)
    # Without a model it ends soon.
    wrong = {"MQTT__PASSWORD_FILE": str(house.folder / "wrong"), "ENGINE__MODEL": "/nowhere"}
    recording = house.folder / "spoken.wav"
    recording.write_bytes(wav(SPOKEN.pcm()))
    with ThreadPoolExecutor() as pool:
        commands = [
            pool.submit(house.command, "doctor", "doctor", "--json", *config),
            pool.submit(house.command, "check-config", "check-config", *config),
            pool.submit(house.command, "transcribe", "transcribe", *config, str(recording)),
            pool.submit(house.command, "doctor with a wrong password", "doctor", *config, **wrong),
        ]
    for command in commands:
        command.result()
    eventually(lambda: "Home Assistant" in service.log)


def _ask_for_much(house: House, service: Service, oracle: Person) -> None:
    """Requests, replies to wrong places, and the level `debug`."""
    before = service.log
    house.evidence.said["log of service at info"] = before
    service.configure(**house.config, log={"level": "debug"})
    with (
        closing(Person(house.broker, "homeassistant")) as home,
        closing(Person(house.broker, ROOM)) as room,
    ):
        for request in ("reload", "health_check", "devices", "rung", "forget"):
            home.publish({f"stt/bridge/request/{request}": b'{"rung":"auto","device":"nobody"}'})
            oracle.await_heard(f"stt/bridge/response/{request}")
        home.publish({f"stt/{ROOM}/enabled/set": b"OFF"})
        home.publish({f"stt/{ROOM}/set": json.dumps({"enabled": None, "prompt": PROMPT}).encode()})
        for number, place in enumerate(REPLIES):
            # Neither needs the model.
            start = json.dumps({"id": f"asked-{number}", "reply_to": place})
            room.publish({f"stt/{ROOM}/audio/start": start.encode()})
            room.publish({f"stt/{ROOM}/audio/abort": b""})
            if not set(place) & set("+#"):
                room.publish({f"stt/{ROOM}/utterance": b"short"}, reply_to=place)
        heard = oracle.times(f"stt/{ROOM}/text")
        room.publish({f"stt/{ROOM}/utterance": wav(SPOKEN.pcm())}, reply_to=REPLIES[-1])
        oracle.await_heard(f"stt/{ROOM}/text", times=heard + 1)
        oracle.await_heard(REPLIES[-1], times=3)
