"""Browsers and the running program: real speech over a WebSocket, restarts, and bad neighbours."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import yaml

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.native.direct import MODEL
from tools.brokers import Broker, eventually, free_port, needs_mosquitto
from tools.browsers import ATTACKS, BrowserClient, hostile_browsers
from tools.clients import Tally
from tools.processes import peak_rss
from tools.program import PROGRAM, Peer, Service, running
from tools.words import words

SPEECH = os.environ.get("STT_MQTT_SPEECH")
TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOSTILE = 200
ATTACK_S = 5.0
MAX_GROWTH_BYTES = 150_000_000
CRASH_SIGNS = ("Traceback", "please report", "never retrieved", "Exception in")


def spoken_commands() -> list[tuple[str, bytes]]:
    """Text and PCM of the sample commands."""
    return [(sample.text, sample.pcm()) for sample in SAMPLES]


@contextmanager
def a_page(port: int, room: str, **options: Any) -> Iterator[BrowserClient]:
    with closing(BrowserClient(port, room, **options)) as page:
        yield page


def test_what_is_said_into_a_page_is_answered_there_and_on_mqtt(
    tmp_path: Path, broker: Broker
) -> None:
    port = free_port()
    home = Peer(broker, "homeassistant/device/stt_mqtt_tablet/config", "stt/tablet/#")
    with (
        running(tmp_path, broker, web={"port": port}) as (_, peer),
        a_page(port, "tablet", real_time=True) as page,
    ):
        heard = page.hear(SAMPLES[0].pcm())
        assert words(heard.text) == words(SAMPLES[0].text)
        (result,) = peer.json("stt/tablet/result")
        assert heard.result == {"type": "result", **result}
        assert (result["device"], result["end"]) == ("tablet", "stop")
        assert peer.payloads("stt/tablet/text") == [heard.text.encode()]
        config = home.json("homeassistant/device/stt_mqtt_tablet/config")[-1]
        assert config["dev"]["mdl"] == MODEL
        eventually(lambda: home.payloads("stt/tablet/availability") == [b"online"])
        page.close()
        eventually(lambda: home.payloads("stt/tablet/availability")[-1:] == [b"offline"])
    home.close()


@pytest.mark.skipif(not SPEECH, reason="STT_MQTT_SPEECH names no speech data")
def test_people_are_understood_over_the_socket_as_over_mqtt(tmp_path: Path, broker: Broker) -> None:
    folder = Path(SPEECH or "")
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    clips = [json.loads(line) for line in lines]
    chosen = [clip for clip in clips if clip["corpus"] == "speech_to_phrase_en"][:5]
    port = free_port()
    with (
        running(tmp_path, broker, web={"port": port}) as (_, peer),
        a_page(port, "phone") as page,
    ):
        for number, clip in enumerate(chosen):
            pcm = _pcm(folder / clip["path"])
            heard = page.hear(pcm)
            peer.publish("stt/kitchen/utterance", pcm)
            result = peer.json("stt/kitchen/result", number + 1)[number]
            assert heard.text == result["text"]
            assert heard.text


def _pcm(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16_000, 2, 1)
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


def test_after_a_kill_the_same_cookie_and_room_go_on(tmp_path: Path, broker: Broker) -> None:
    port, token = free_port(), tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    web = {"host": "0.0.0.0", "port": port, "token_file": str(token)}
    home = Peer(broker, "stt/+/availability")
    with running(tmp_path, broker, web=web) as (service, _):
        cookie = asyncio.run(_cookie(port))
        with a_page(port, "tablet", headers={"Cookie": cookie}) as page:
            assert words(page.hear(SAMPLES[1].pcm()).text) == words(SAMPLES[1].text)
            service.process.kill()
            service.process.wait()
    again_folder = tmp_path / "again"
    again_folder.mkdir()
    with running(again_folder, broker, web=web) as (again, _):
        # The service could not say that the page had gone.
        eventually(lambda: home.payloads("stt/tablet/availability")[-1:] == [b"offline"])
        with a_page(port, "tablet", headers={"Cookie": cookie}) as page:
            assert words(page.hear(SAMPLES[2].pcm()).text) == words(SAMPLES[2].text)
            eventually(lambda: home.payloads("stt/tablet/availability")[-1] == b"online")
            assert again.stop() == 0
        assert TOKEN not in again.log
        assert not [sign for sign in CRASH_SIGNS if sign in again.log]
    assert home.payloads("stt/tablet/availability")[-1] == b"offline"
    assert TOKEN not in service.log
    home.close()


async def _cookie(port: int) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{port}/login", data={"token": TOKEN}, allow_redirects=False
        ) as response,
    ):
        return response.headers["Set-Cookie"].partition(";")[0]


def test_the_pages_answer_while_the_service_still_waits_for_its_broker(tmp_path: Path) -> None:
    class Nobody:
        host, port = "127.0.0.1", free_port()

        def start(self) -> None: ...
        def stop(self) -> None: ...

    port = free_port()
    service = Service(tmp_path, Nobody(), web={"port": port})
    try:

        def answers() -> bool:
            assert service.process.poll() is None, service.log
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/"):
                return True
            return False

        eventually(answers)
    finally:
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("web", "status", "sentence"),
    [
        ({"host": "0.0.0.0"}, 78, "a token is needed"),
        ({"token_file": "/no/such/token"}, 78, "web.token_file cannot be read: No such file"),
        ({"cert_file": "/no/cert", "key_file": "/no/key"}, 78, "web.cert_file cannot be read"),
    ],
)
def test_pages_that_could_not_be_safe_keep_the_service_from_starting(
    tmp_path: Path, web: dict[str, object], status: int, sentence: str
) -> None:
    done = _run_to_end(tmp_path, {"port": free_port(), **web})
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def _run_to_end(folder: Path, web: dict[str, object]) -> subprocess.CompletedProcess[str]:
    file = folder / "stt-mqtt.yaml"
    nobody = {"host": "127.0.0.1", "port": free_port()}
    sections = {"mqtt": nobody, "wyoming": {"enabled": False}, "web": web}
    file.write_text(yaml.safe_dump(sections))
    command = [str(PROGRAM), "run", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@needs_mosquitto
def test_two_hundred_hostile_sockets_cost_a_quiet_room_no_word(
    tmp_path: Path, broker: Broker
) -> None:
    port = free_port()
    config = {"web": {"port": port}, "engine": {"workers": 2}, "limits": {"max_queue_age_s": 120}}
    with (
        running(tmp_path, broker, **config) as (service, peer),
        a_page(port, "quiet") as quiet,
    ):
        process = psutil.Process(service.process.pid)
        quiet.hear(SAMPLES[0].pcm())
        warm = process.memory_info().rss
        tally = Tally()
        with peak_rss(process) as peak, hostile_browsers(port, HOSTILE) as end:
            until = time.monotonic() + ATTACK_S
            while time.monotonic() < until or tally.asked < len(SAMPLES):
                for text, pcm in spoken_commands():
                    tally.ask(quiet.hear, text, pcm)
            made = end()
        assert tally.right == tally.asked, tally.wrong
        assert set(made) == {attack.__name__ for attack in ATTACKS}
        assert peak() - warm < MAX_GROWTH_BYTES
        eventually(lambda: peer.payloads("stt/quiet/state")[-1] == b"idle")
        assert not [sign for sign in CRASH_SIGNS if sign in service.log], service.log
