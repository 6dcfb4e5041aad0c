"""Conversations of browsers with a service over real WebSockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from stt_mqtt.config.devices import MAX_PROMPT_CHARACTERS
from stt_mqtt.doors.native.direct import MODEL
from stt_mqtt.doors.web.door import Bounds
from stt_mqtt.doors.web.listener import ConnectionBounds
from stt_mqtt.doors.web.socket import Pace, SocketBounds
from stt_mqtt.doors.web.socket_messages import MAX_REASON_BYTES, PROTOCOL
from stt_mqtt.types import Completion, DeviceKey
from tests.core.speech import CHUNK_S, WORDS, chunks_of, found, quiet
from tests.doors.web.peers import TOKEN, Browser, Site, browser, running, until

SECOND = bytes(32_000)
"""A second of silence as PCM."""
CHUNK = bytes(6400)


def device_of(site: Site, room: str = "tablet") -> Any:
    return site.wire.service.registry.find(DeviceKey("native", room))


async def spoken(site: Site, page: Browser, id: str = "a") -> None:
    """Say one utterance to its end."""
    await page.send("start", id=id, codec="pcm_s16le", rate=16000)
    for _ in range(3):
        await page.say(CHUNK)
    await page.send("stop", id=id, chunks=3)
    await until(lambda: site.wire.pool.submitted)


def test_a_browser_is_answered_on_its_socket_and_on_mqtt_alike() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            assert page.socket.protocol == PROTOCOL
            await spoken(site, page)
            (utterance,) = site.wire.pool.utterances
            assert utterance.seconds == pytest.approx(0.6)
            site.wire.answer("Turn on the light.")
            result = await page.next("result")
            await page.state("idle")
        (published,) = site.wire.results("tablet")
        assert result == {"type": "result", **published}
        assert (result["id"], result["text"], result["end"]) == ("a", "Turn on the light.", "stop")
        assert site.wire.on("stt/tablet/text") == [b"Turn on the light."]
        states = [told["state"] for told in page.told if told["type"] == "state"]
        assert states == ["idle", "listening", "transcribing", "idle"]
        assert page.told[0] == {
            "type": "settings",
            "enabled": True,
            "language": None,
            "prompt": None,
        }
        assert site.rearmed >= 7

    asyncio.run(scenario())


def test_a_browser_is_told_of_an_open_phrase_and_of_the_end_before_the_result() -> None:
    async def pause(site: Site, page: Browser, completion: Completion) -> None:
        """Words, and a pause in which this much of a phrase is found."""
        for chunk in chunks_of(WORDS + quiet(0.36)):
            site.wire.clock.advance(CHUNK_S)
            await page.say(chunk)
        await until(lambda: site.wire.pool.submitted)
        site.wire.pool.answer(site.wire.service, found(completion))

    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a", codec="pcm_s16le", rate=16000)
            await pause(site, page, Completion.OPEN)
            assert await page.next("open", "ended") == {"type": "open", "id": "a"}
            await pause(site, page, Completion.COMPLETE)
            assert await page.next("open", "ended") == {"type": "ended", "id": "a"}
            await page.state("transcribing")
            site.wire.answer()
            assert (await page.next("open", "ended", "result"))["end"] == "endpoint"
            await page.state("idle")

    asyncio.run(scenario())


def test_numbered_chunks_are_put_in_order_and_losses_counted() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a", framing="seq32")
            for number in (0, 2, 2, 1, 4):
                await page.say(number.to_bytes(4, "little") + CHUNK)
            await page.send("stop", id="a", chunks=5)
            await until(lambda: device_of(site).counters.dropped_chunks == 1)
            site.wire.clock.advance(1)
            site.wire.service.tick()
            site.wire.answer()
            assert (await page.next("result"))["lost_chunks"] == 1

    asyncio.run(scenario())


def test_the_availability_of_a_browser_is_that_of_a_satellite() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with browser(session, site) as page:
                await page.next("state")
                assert site.wire.on("stt/tablet/availability") == [b"online"]
                (satellite,) = site.wire.on("stt/tablet/satellite/state")
                assert json.loads(satellite)["model"] == MODEL
                assert site.wire.door.devices.is_online("tablet")
            await until(lambda: len(site.wire.on("stt/tablet/availability")) == 2)
        assert site.wire.on("stt/tablet/availability")[-1] == b"offline"
        assert not site.wire.door.devices.is_online("tablet")

    asyncio.run(scenario())


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_socket_that_closes_ends_its_open_utterance_as_a_disconnect(abruptly: bool) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a")
            await page.say(SECOND)
            await page.state("listening")
            if abruptly:
                transport = page.transport
                transport.abort()
            else:
                await page.socket.close()
            await until(lambda: site.wire.pool.submitted)
            site.wire.answer("Turn on")
        (result,) = site.wire.results("tablet")
        assert (result["end"], result["incomplete"]) == ("disconnect", True)

    asyncio.run(scenario())


def test_what_was_answered_while_a_browser_was_away_is_answered_again_when_it_asks() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with browser(session, site) as page:
                await spoken(site, page)
            await until(lambda: not site.wire.door.direct.is_connected("tablet"))
            site.wire.answer()
            async with browser(session, site) as again:
                await again.send("start", id="a")
                await again.say(CHUNK)
                result = await again.next("result")
        assert (result["id"], result["repeated"]) == ("a", True)

    asyncio.run(scenario())


def test_of_two_pages_with_one_room_the_newer_takes_over_and_nothing_is_mixed() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as older:
            await older.send("start", id="old")
            await older.say(SECOND)
            await older.state("listening")
            async with browser(session, site) as newer:
                assert await older.end() == (
                    4001,
                    "another page or browser now speaks as this room",
                )
                assert older.told[-1]["code"] == "replaced"
                await newer.send("start", id="new")
                await newer.say(CHUNK)
                await newer.say(CHUNK)
                await newer.send("stop", id="new")
                for text in ("Turn", "Turn off the light."):
                    await until(lambda: site.wire.pool.submitted)
                    site.wire.answer(text)
                results = [await newer.next("result") for _ in range(2)]
                assert site.wire.door.devices.is_online("tablet")
            assert site.wire.on("stt/tablet/availability")[:2] == [b"online", b"online"]
        assert [(one["id"], one["end"]) for one in results] == [
            ("old", "disconnect"),
            ("new", "stop"),
        ]
        assert [one["audio_s"] for one in results] == [1.0, 1.0]

    asyncio.run(scenario())


def test_chunks_after_the_end_of_the_utterance_open_no_other_one() -> None:
    async def scenario() -> None:
        site = Site(limits={"max_utterance_s": 1})
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a")
            for _ in range(3):
                await page.say(SECOND)
            await until(lambda: site.wire.pool.submitted)
            site.wire.answer()
            assert (await page.next("result"))["end"] == "cap"
            site.wire.clock.advance(60)
            await page.say(CHUNK)
            await until(lambda: device_of(site).counters.dropped_chunks == 3)
        assert len(site.wire.results("tablet")) == 1
        assert not [told for told in page.told if told["type"] == "error"]

    asyncio.run(scenario())


def test_audio_before_any_start_is_dropped_and_told_once() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.say(CHUNK)
            await page.say(CHUNK)
            await page.send("ping")
            await page.next("pong")
        assert [told["code"] for told in page.told if told["type"] == "error"] == ["no_start"]
        assert site.wire.results("tablet") == []

    asyncio.run(scenario())


def test_an_abort_and_changed_settings_are_those_of_the_device() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a")
            await page.say(CHUNK)
            await page.send("abort", id="a")
            assert (await page.next("result"))["outcome"] == "aborted"
            await page.send("set", enabled=False)
            assert (await page.next("settings"))["enabled"] is False
            await page.send("start", id="b")
            assert (await page.next("result"))["error"]["code"] == "disabled"
        settings = json.loads(site.wire.on("stt/tablet/settings")[-1])
        assert settings["enabled"] is False

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fields",
    [
        {"codec": "mp9"},
        {"id": "no spaces"},
        {"rate": "fast"},
        {"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)},
    ],
)
def test_a_bad_start_is_answered_as_on_mqtt_and_the_connection_stays(
    fields: dict[str, Any],
) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", **fields)
            error = (await page.next("result"))["error"]
            assert error["code"] in {"bad_payload", "unsupported_format"}
            await page.send("ping", t=7)
            assert await page.next("pong") == {"type": "pong", "t": 7}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("frame", "close", "code"),
    [
        ("nonsense", 1007, "bad_message"),
        ("[1]", 1007, "bad_message"),
        ('{"type": NaN}', 1007, "bad_message"),
        ('"\\ud800"', 1007, "bad_message"),
        ("[" * 10_000, 1007, "bad_message"),
        ("{}", 1008, "unknown_type"),
        ('{"type": "sing"}', 1008, "unknown_type"),
        ('{"type": ["start"]}', 1008, "unknown_type"),
        ('{"type": "' + "ä" * 3000 + '"}', 1008, "unknown_type"),
        (json.dumps({"type": "start", "prompt": "a" * 17_000}), 1009, "frame_too_large"),
    ],
)
def test_a_frame_that_is_no_message_ends_the_connection_with_a_code_and_a_reason(
    frame: str, close: int, code: str
) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.socket.send_str(frame)
            found, reason = await page.end()
            assert (found, page.told[-1]["code"]) == (close, code)
            assert reason
            assert len(reason.encode()) <= MAX_REASON_BYTES
        assert site.wire.service.metrics.dropped == {"bad_frame": 1}

    asyncio.run(scenario())


def test_a_frame_over_the_limit_ends_the_connection_and_the_utterance() -> None:
    async def scenario() -> None:
        site = Site(mqtt={"max_payload_kib": 16})
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a")
            await page.say(bytes(16_000))
            await page.state("listening")
            await page.say(bytes(16 * 1024 + 1))
            assert await page.end() == (1009, "a frame is larger than 16384 bytes")
            await until(lambda: site.wire.pool.submitted)
            site.wire.answer()
        assert site.wire.results("tablet")[0]["end"] == "disconnect"

    asyncio.run(scenario())


@pytest.mark.parametrize("room", ["", "bridge", "a/b", "a b", "x" * 65, "küche", "%2B", "%23"])
def test_a_room_must_be_a_legal_device_name(room: str) -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site, room) as page:
            assert (await page.end())[0] == 4003
        assert site.wire.published == []
        assert len(site.wire.service.registry) == 0

    asyncio.run(scenario())


def test_a_browser_speaks_only_as_rooms_that_are_listed() -> None:
    async def scenario() -> None:
        site = Site(web={"rooms": ["tablet_*", "hall"]})
        async with running(site) as session:
            for room in ("tablet_1", "hall"):
                async with browser(session, site, room) as page:
                    await page.next("state")
            async with browser(session, site, "kitchen") as page:
                assert (await page.end())[0] == 4003
                assert page.told[-1]["code"] == "room_not_allowed"

    asyncio.run(scenario())


def test_until_the_service_is_online_a_browser_is_told_to_try_later() -> None:
    async def scenario() -> None:
        site = Site()
        site.online.clear()
        async with running(site) as session:
            async with browser(session, site) as page:
                assert (await page.end())[0] == 1013
                assert page.told[-1]["code"] == "starting"
            site.online.set()
            async with browser(session, site) as page:
                await page.next("state")

    asyncio.run(scenario())


def test_a_stop_of_the_service_sends_what_waits_and_says_so() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session, browser(session, site) as page:
            await page.next("state")
            site.wire.door.direct.tell("tablet", "partial", {"text": "Turn"})
            closing = asyncio.create_task(site.door.close())
            assert await page.end() == (1001, "the service is stopping")
            await closing
        assert [told["type"] for told in page.told[-2:]] == ["partial", "error"]
        assert site.wire.on("stt/tablet/availability")[-1] == b"offline"

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_a_browser_that_confirms_nothing() -> None:
    async def scenario() -> None:
        site = Site(bounds=Bounds(sockets=SocketBounds(close_s=0.1)))
        async with running(site):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(handshake(site))
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: site.wire.door.direct.is_connected("tablet"))
            async with asyncio.timeout(60):
                await site.door.close()
                await reader.read()
            writer.close()
        assert site.wire.on("stt/tablet/availability")[-1] == b"offline"

    asyncio.run(scenario())


def test_a_ping_frame_is_answered_by_a_pong_frame_with_its_data() -> None:
    async def scenario() -> None:
        site = Site()
        url = site.url("/ws?room=tablet")
        async with (
            running(site) as session,
            session.ws_connect(url, protocols=(PROTOCOL,), autoping=False) as socket,
        ):
            await socket.pong()
            await socket.ping(b"there?")
            while (message := await socket.receive(60)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type is aiohttp.WSMsgType.PONG
            assert bytes(message.data) == b"there?"

    asyncio.run(scenario())


def test_a_plain_request_and_another_sub_protocol_are_refused() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with session.get(site.url("/ws?room=tablet")) as response:
                assert response.status == 400
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(site.url("/ws?room=tablet"), protocols=("other",))
            assert caught.value.status == 400
        assert not site.wire.door.direct.is_connected("tablet")

    asyncio.run(scenario())


def test_a_browser_that_does_not_read_is_cut_off() -> None:
    async def scenario() -> None:
        bounds = Bounds(sockets=SocketBounds(queued_messages=8))
        site = Site(bounds=bounds)
        async with running(site) as session, browser(session, site) as page:
            await page.next("state")
            for _ in range(9):
                site.wire.door.direct.tell("tablet", "partial", {"text": "Turn"})
            await page.end()
            await until(lambda: not site.wire.door.direct.is_connected("tablet"))

    asyncio.run(scenario())


def test_a_browser_that_answers_no_ping_is_gone() -> None:
    async def scenario() -> None:
        site = Site(bounds=Bounds(sockets=SocketBounds(heartbeat_s=0.05)))
        async with running(site):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(handshake(site))
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: site.wire.on("stt/tablet/availability") == [b"online", b"offline"])
            writer.close()

    asyncio.run(scenario())


def handshake(site: Site) -> bytes:
    """The head of a WebSocket handshake."""
    lines = [
        "GET /ws?room=tablet HTTP/1.1",
        f"Host: 127.0.0.1:{site.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {PROTOCOL}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_too_many_browsers_are_told_to_try_later() -> None:
    async def scenario() -> None:
        bounds = Bounds(sockets=SocketBounds(sockets=2), connections=ConnectionBounds())
        site = Site(bounds=bounds)
        async with running(site) as session:
            async with (
                browser(session, site, "a") as first,
                browser(session, site, "b") as second,
                browser(session, site, "c") as third,
            ):
                assert (await third.end())[0] == 1013
                for page in (first, second):
                    await page.send("ping")
                    await page.next("pong")
            await until(lambda: not site.wire.door.direct.is_connected("a"))
            async with browser(session, site, "c") as again:
                await again.next("state")
        assert site.wire.service.metrics.dropped == {"too_many_connections": 1}

    asyncio.run(scenario())


def test_a_room_at_another_address_gets_a_place_of_the_address_with_the_most() -> None:
    async def scenario() -> None:
        bounds = Bounds(sockets=SocketBounds(sockets=3))
        site = Site(token=TOKEN, bounds=bounds, web={"host": "0.0.0.0", "token_file": "t"})
        local = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            running(site) as session,
            aiohttp.ClientSession(connector=local) as other,
            browser(session, site, "a", headers=headers) as first,
            browser(session, site, "b", headers=headers),
            browser(session, site, "c", headers=headers) as newest,
        ):
            await newest.next("state")
            async with browser(other, site, "quiet", headers=headers) as quiet:
                await quiet.next("state")
                assert (await newest.end())[0] == 1013
                await first.send("ping")
                await first.next("pong")

    asyncio.run(scenario())


def test_what_comes_too_fast_waits_and_is_not_lost() -> None:
    async def scenario() -> None:
        bounds = SocketBounds(messages_per_s=200, burst_messages=5)
        site = Site(bounds=Bounds(sockets=bounds))
        async with running(site) as session, browser(session, site) as page:
            await page.send("start", id="a")
            for _ in range(20):
                await page.say(bytes(640))
            await page.send("stop", id="a", chunks=20)
            await until(lambda: site.wire.pool.submitted)
            (utterance,) = site.wire.pool.utterances
            assert utterance.lost_chunks == 0
            assert utterance.seconds == pytest.approx(0.4)

    asyncio.run(scenario())


def test_the_pace_lets_a_burst_through_and_then_counts_messages_and_bytes() -> None:
    bounds = SocketBounds(
        messages_per_s=10, burst_messages=3, message_bytes=1000, turn_messages=100, turn_bytes=10**6
    )
    pace = Pace(bounds, 0.0)
    assert [pace.spend(0, 0.0) for _ in range(4)] == [None, None, None, 0.1]
    assert pace.spend(0, 0.2) is None
    assert pace.spend(9000, 100.0) == pytest.approx(0.7)


def test_after_some_messages_or_bytes_others_have_their_turn() -> None:
    pace = Pace(SocketBounds(turn_messages=4, turn_bytes=1024), 0.0)
    assert [pace.spend(0, 0.0) for _ in range(8)] == [None, None, None, 0.0] * 2
    assert [pace.spend(256, 0.0) for _ in range(4)] == [None, 0.0] * 2
    assert pace.spend(1024, 0.0) == 0.0


def test_what_the_service_publishes_for_a_browser_does_not_disturb_it_when_it_comes_back() -> None:
    async def scenario() -> None:
        site = Site()
        async with running(site) as session:
            async with browser(session, site) as page:
                await page.next("state")
            await until(lambda: not site.wire.door.direct.is_connected("tablet"))
            async with browser(session, site) as page:
                await page.send("start", id="a")
                await page.say(CHUNK)
                await page.state("listening")
                # The broker is slow: what was published for the page before arrives now.
                site.wire.send("stt/tablet/availability", b"offline")
                await page.send("ping")
                await page.next("pong")
                assert device_of(site).listening
                assert site.wire.door.devices.is_online("tablet")

    asyncio.run(scenario())
