"""The names of the home, from the broker and from Home Assistant, in the running program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.names.store import NamesStore
from tests.names.server import TOKEN, FakeHomeAssistant, home_assistant
from tools.brokers import Broker, eventually
from tools.program import Peer, running


@contextmanager
def home_in_a_thread() -> Iterator[FakeHomeAssistant]:
    """A Home Assistant beside the test."""
    started: Future[tuple[FakeHomeAssistant, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with home_assistant() as home:
            started.set_result((home, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    home, loop, stop = started.result(30)
    try:
        yield home
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def dropped(peer: Peer) -> dict[str, Any]:
    """What the service dropped so far, by reason."""
    before = len(peer.payloads("stt/bridge/response/health_check"))
    peer.publish("stt/bridge/request/health_check", b"{}")
    answer = peer.json("stt/bridge/response/health_check", before + 1)[-1]
    counters = answer["data"]["counters"]["dropped"]
    assert isinstance(counters, dict)
    return counters


def names_told(peer: Peer) -> dict[str, Any]:
    """What the service says of its names."""
    names: dict[str, Any] = peer.json("stt/bridge/info")[-1]["phrases"]["names"]
    return names


def test_names_of_the_broker_are_read_at_the_start_and_followed(
    tmp_path: Path, broker: Broker
) -> None:
    before = Peer(broker, "stt/bridge/names")
    try:
        before.publish("stt/bridge/names", b'["Zitrone"]', retain=True)
        with running(tmp_path, broker, log={"level": "debug"}) as (service, peer):
            eventually(lambda: dropped(peer).get("bad_names", 0) > 0)
            read = dropped(peer)["bad_names"]
            peer.publish("stt/bridge/names", b'{"drink": "Zitrone"}', retain=True)
            eventually(lambda: dropped(peer)["bad_names"] == read + 1)
            peer.publish("stt/bridge/names", b'{"drink": ["Zitrone"]}', retain=True)
            assert service.stop() == 0
            assert "stt/bridge/names: it is not a JSON object" in service.log
            assert "Zitrone" not in service.log
    finally:
        before.close()


def test_names_of_home_assistant_are_kept_and_neither_logged_nor_published(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("STT_MQTT_STATE", str(state))
    (tmp_path / "token").write_text(TOKEN)
    with home_in_a_thread() as home:
        phrases = {
            "builtin": True,
            "names": {"drink": ["Zitrone"]},
            "home_assistant": {
                "url": f"http://127.0.0.1:{home.port}",
                "token_file": str(tmp_path / "token"),
            },
        }
        with running(tmp_path, broker, phrases=phrases, log={"level": "debug"}) as (service, peer):
            eventually(lambda: names_told(peer).get("home_assistant") == "connected")
            assert names_told(peer) == {
                "home_assistant": "connected",
                "entities": 8,
                "areas": 4,
                "floors": 2,
                "lists": 1,
            }
            names = NamesStore(state).load()
            assert service.stop() == 0
            published = b"".join(bytes(message.payload) for message in peer.messages)
            said = service.log + published.decode()
    assert names is not None
    assert len(names.entities) == 8
    assert "8 entities, 4 areas and 2 floors have names" in said
    for word in (TOKEN, "Zitrone", "lounge", "Living", "Kitchen radio", "downstairs"):
        assert word not in said


def test_who_looks_after_the_home_sees_that_the_token_is_refused(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STT_MQTT_STATE", str(tmp_path / "state"))
    with home_in_a_thread() as home:
        source = {"url": home.address, "token": "wrong"}
        phrases = {"builtin": True, "home_assistant": source}
        with running(tmp_path, broker, phrases=phrases) as (service, peer):
            eventually(lambda: names_told(peer)["home_assistant"] == "waiting: token_refused")
            assert names_told(peer)["entities"] == 0
            assert service.stop() == 0
