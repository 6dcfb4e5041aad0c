"""Several gateways share the devices: who owns which when they come, go, hang and die."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from stt_mqtt.errors import EXIT_CONFIG, SttMqttError
from stt_mqtt.fleet.ring import Ring, encode_message, owner
from tests.fleet.gateways import RING, House, until
from tests.virtual_time import run_in_virtual_time

DEVICES = [f"room{number}" for number in range(12)]


def in_house(scenario: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        house = House()
        try:
            await scenario(house)
        finally:
            await house.close()

    run_in_virtual_time(run())


def device_of(gateway: str, *gateways: str, but: str | None = None) -> str:
    """A device that a gateway owns among these, and another one (`but`) does not when it is in."""
    more = [*gateways, but] if but else gateways
    wanted = but or gateway
    return next(
        name for name in DEVICES if owner(name, gateways) == gateway and owner(name, more) == wanted
    )


def leader_of(*gateways: str) -> str:
    leader = owner("bridge", gateways)
    assert leader is not None
    return leader


def test_a_gateway_alone_owns_everything_and_leads() -> None:
    async def scenario(house: House) -> None:
        gateway = await house.join("a")
        await house.settle("a")
        assert gateway.members.leads
        assert all(map(gateway.members.owns, DEVICES))
        assert house.retained["stt/bridge/state"] == b"online"
        assert json.loads(house.retained["stt/bridge/info"])["instance"] == "ours"

    in_house(scenario)


def test_two_gateways_share_the_devices_and_one_of_them_leads() -> None:
    async def scenario(house: House) -> None:
        a, b = await house.join("a"), await house.join("b")
        await house.settle("a", "b")
        for device in DEVICES:
            assert a.members.owns(device) != b.members.owns(device)
        assert {a.members.owns(device) for device in DEVICES} == {True, False}
        before = len(house.said("stt/bridge/state"))
        house.publish("stt/bridge/state", b"offline", retain=True)
        for device in DEVICES:
            await house.speak(device, f"said-in-{device}")
        await asyncio.sleep(1)
        for device in DEVICES:
            (result,) = house.results(f"said-in-{device}")
            assert result["by"] == house.ring.owner(device)
        said = house.said("stt/bridge/state")[before:]
        assert said == [(None, b"offline"), (house.leaders[0], b"online")]

    in_house(scenario)


def test_who_joins_takes_over_within_a_second_and_what_is_open_ends_where_it_began() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.settle("a")
        device = device_of("a", "a", but="b")
        house.start(device, "old")
        house.chunk(device)
        began = asyncio.get_running_loop().time()
        await house.join("b")
        await house.settle("a", "b")
        assert asyncio.get_running_loop().time() - began < 1.5
        house.chunk(device)
        house.stop(device, "old")
        await house.speak(device, "new")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("old")] == ["a"]
        assert [one["by"] for one in house.results("new")] == ["b"]

    in_house(scenario)


def test_nobody_else_is_told_of_an_utterance_that_goes_on_at_the_gateway_before() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.settle("a")
        device = device_of("a", "a", but="b")
        house.start(device, "old")
        await house.join("b")
        await house.settle("a", "b")
        await asyncio.sleep(0.5)
        # An `idle` would have the satellite send it again.
        assert house.retained[f"stt/{device}/state"] == b"listening"
        house.stop(device, "old")
        await asyncio.sleep(0.5)
        assert house.said(f"stt/{device}/state")[-1] == ("a", b"idle")

    in_house(scenario)


def test_a_new_start_ends_what_is_open_at_the_gateway_before_and_opens_at_the_new_one() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.settle("a")
        device = device_of("a", "a", but="b")
        house.start(device, "old")
        house.chunk(device)
        await house.join("b")
        await house.settle("a", "b")
        await house.speak(device, "new")
        await asyncio.sleep(1)
        ends = {json.loads(item)["id"]: json.loads(item) for _, item in results_of(house, device)}
        assert (ends["old"]["end"], ends["old"]["incomplete"]) == ("restart", True)
        assert ends["new"]["end"] == "stop"
        assert house.said(f"stt/{device}/state")[-1] == ("b", b"idle")

    in_house(scenario)


def test_bare_audio_that_goes_on_over_a_switch_opens_nothing_at_the_new_owner() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.settle("a")
        device = device_of("a", "a", but="b")

        async def talk(chunks: int) -> None:
            for _ in range(chunks):
                house.chunk(device)
                await asyncio.sleep(0.1)

        talking = asyncio.create_task(talk(20))
        await house.join("b")
        await house.settle("a", "b")
        await talking
        await asyncio.sleep(2)
        assert [by for by, _ in results_of(house, device)] == ["a"]
        await talk(5)
        await asyncio.sleep(2)
        assert [by for by, _ in results_of(house, device)] == ["a", "b"]

    in_house(scenario)


def results_of(house: House, device: str) -> list[tuple[str | None, bytes]]:
    return house.said(f"stt/{device}/result")


def test_a_gateway_that_is_stopped_finishes_what_it_has_and_says_nothing_of_the_service() -> None:
    async def scenario(house: House) -> None:
        a, _ = await house.join("a"), await house.join("b")
        await house.settle("a", "b")
        device = device_of("a", "a", "b")
        house.start(device, "last")
        await asyncio.sleep(0.1)
        before = len(house.said("stt/bridge/state"))
        stopping = asyncio.create_task(a.stop())
        await until(lambda: house.ring.gateways == ("b",))
        assert house.ring.leaving == ("a",)
        house.start(device, "next")
        await asyncio.sleep(0.2)
        house.stop(device, "next")
        await stopping
        await house.settle("b")
        assert {payload for _, payload in house.said("stt/bridge/state")[before:]} <= {b"online"}
        await asyncio.sleep(0.5)
        assert [one["by"] for one in house.results("next")] == ["b"]

    in_house(scenario)


def test_the_last_gateway_says_that_the_service_is_offline() -> None:
    async def scenario(house: House) -> None:
        a, b = await house.join("a"), await house.join("b")
        await house.settle("a", "b")
        await asyncio.gather(a.stop(), b.stop())
        assert house.retained["stt/bridge/state"] == b"offline"

    in_house(scenario)


@pytest.mark.parametrize("dies", ["leader", "other"])
def test_a_dead_gateway_is_replaced_within_a_second_and_online_comes_after_that(dies: str) -> None:
    async def scenario(house: House) -> None:
        for name in "abc":
            await house.join(name)
        await house.settle("a", "b", "c")
        leader = leader_of("a", "b", "c")
        dead = leader if dies == "leader" else next(n for n in "abc" if n != leader)
        left = [name for name in "abc" if name != dead]
        device = device_of(dead, "a", "b", "c")
        house.start(device, "lost")
        await asyncio.sleep(0.1)
        said = len(house.published)
        house.gateways[dead].kill()
        began = asyncio.get_running_loop().time()
        await house.settle(*left)
        assert asyncio.get_running_loop().time() - began < 1.0
        await asyncio.sleep(0.1)
        new = [(topic, item) for _, topic, item in house.published[said:]]
        ring = next(n for n, (topic, item) in enumerate(new) if topic == RING and b"epoch" in item)
        online = new.index(("stt/bridge/state", b"online"))
        assert ring < online
        # The satellite sends it again, under the same id, to somebody who takes it.
        assert new.index((f"stt/{device}/state", b"idle")) > ring
        await house.speak(device, "lost")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("lost")] == [house.ring.owner(device)]

    in_house(scenario)


def test_a_gateway_whose_machine_lost_its_power_is_replaced_when_its_entry_is_old() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        b.kill(says_will=False)
        began = asyncio.get_running_loop().time()
        await house.settle("a")
        assert 2.0 < asyncio.get_running_loop().time() - began < 5.0

    in_house(scenario)


def test_a_gateway_that_stood_still_answers_what_came_before_it_was_replaced_and_no_more() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        device = device_of("b", "a", "b")
        b.freeze()
        await house.speak(device, "before")
        await house.settle_without("b", "a")
        await house.speak(device, "after")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("after")] == ["a"]
        assert not house.results("before")
        b.thaw()
        await house.settle("a", "b")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("before")] == ["b"]
        assert [one["by"] for one in house.results("after")] == ["a"]

    in_house(scenario)


def test_what_was_sent_again_meanwhile_is_not_answered_twice() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        device = device_of("b", "a", "b")
        b.freeze()
        await house.speak(device, "once")
        await house.settle_without("b", "a")
        await house.speak(device, "once")
        await asyncio.sleep(1)
        b.thaw()
        await asyncio.sleep(2)
        assert [one["by"] for one in house.results("once")] == ["a"]
        assert b.service.metrics.dropped["elsewhere"] == 1

    in_house(scenario)


def test_an_answer_of_the_owner_before_is_repeated_by_the_new_one() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.join("b")
        await house.settle("a", "b")
        device = device_of("a", "a", "b")
        await house.speak(device, "known")
        await asyncio.sleep(1)
        await house.gateways["a"].stop()
        await house.settle("b")
        await house.speak(device, "known")
        await asyncio.sleep(1)
        assert len(house.results("known")) == 1
        by, last = results_of(house, device)[-1]
        first = json.loads(results_of(house, device)[0][1])
        assert (by, json.loads(last)) == ("b", {**first, "repeated": True})
        assert len(house.said(f"stt/{device}/text")) == 1

    in_house(scenario)


def test_a_gateway_without_the_bucket_hands_over_when_the_others_say_so() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        b.lose_nats()
        device = device_of("b", "a", "b")
        await house.speak(device, "still")
        await until(lambda: house.ring.gateways == ("a",))
        await house.speak(device, "now")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("still")] == ["b"]
        assert [one["by"] for one in house.results("now")] == ["a"]
        b.reach_nats()
        await house.settle("a", "b")

    in_house(scenario)


def test_without_the_bucket_all_go_on_and_the_dead_are_found_by_roll_calls() -> None:
    async def scenario(house: House) -> None:
        for name in "abc":
            await house.join(name)
        await house.settle("a", "b", "c")
        house.lose_nats()
        await asyncio.sleep(10)
        rings = len(house.rings)
        for device in DEVICES:
            await house.speak(device, f"in-{device}")
        await asyncio.sleep(1)
        assert all(len(house.results(f"in-{device}")) == 1 for device in DEVICES)
        assert len(house.rings) == rings
        house.gateways[leader_of("a", "b", "c")].kill()
        left = [name for name in "abc" if name in house.gateways]
        await house.settle(*left)
        await house.join("d")
        await house.settle(*left, "d")
        stopped = house.gateways[left[0]]
        await stopped.stop()
        await house.settle(left[1], "d")
        house.restore_nats()
        await asyncio.sleep(10)
        assert house.is_settled((left[1], "d"))

    in_house(scenario)


def test_a_gateway_that_starts_without_the_bucket_serves_after_a_while() -> None:
    async def scenario(house: House) -> None:
        house.lose_nats()
        await house.join("a")
        await house.settle("a", within_s=5)
        house.restore_nats()
        await house.join("b")
        await house.settle("a", "b")

    in_house(scenario)


def test_two_that_leave_at_once_leave_all_to_the_third() -> None:
    async def scenario(house: House) -> None:
        for name in "abc":
            await house.join(name)
        await house.settle("a", "b", "c")
        leader = leader_of("a", "b", "c")
        other = next(name for name in "abc" if name != leader)
        await asyncio.gather(house.gateways[leader].stop(), house.gateways[other].stop())
        (left,) = house.gateways
        await house.settle(left)
        assert house.retained["stt/bridge/state"] == b"online"

    in_house(scenario)


def test_all_that_start_again_find_the_ring_of_the_run_before() -> None:
    async def scenario(house: House) -> None:
        for name in "ab":
            await house.join(name)
        await house.settle("a", "b")
        for name in "ab":
            house.gateways[name].kill()
        await asyncio.sleep(1)
        # Only one of them comes back, and the other one is still in the ring and in the bucket.
        a = await house.join("a")
        await house.settle("a", within_s=6)
        assert all(map(a.members.owns, DEVICES))
        assert house.retained["stt/bridge/state"] == b"online"
        await house.join("b")
        await house.settle("a", "b")

    in_house(scenario)


@pytest.mark.parametrize(
    "stale",
    [
        Ring(10**6, "z", ("z",)),
        Ring(10**6, "z", ("a", "b", "z"), ("y",)),
        Ring(0, "a", ()),
    ],
)
def test_a_ring_from_before_is_replaced(stale: Ring) -> None:
    async def scenario(house: House) -> None:
        house.retained[RING] = encode_message(stale)
        await house.join("a")
        await house.join("b")
        await house.settle("a", "b")
        assert house.ring.epoch > stale.epoch

    in_house(scenario)


@pytest.mark.parametrize("late_s", [0.0, 10.0])
def test_the_second_process_with_a_name_ends_with_status_78(late_s: float) -> None:
    async def scenario(house: House) -> None:
        first = await house.join("a")
        await house.join("b")
        await house.settle("a", "b")
        await asyncio.sleep(late_s)
        rings = len(house.rings)
        second = await house.join("a")
        await until(lambda: second.error is not None)
        assert isinstance(second.error, SttMqttError)
        assert second.error.exit_code == EXIT_CONFIG
        assert "another gateway of the fleet home has the name a" in str(second.error)
        assert not second.members.owns(device_of("a", "a", "b"))
        second.kill(says_will=False)
        house.gateways["a"] = first
        await asyncio.sleep(5)
        assert first.error is None
        assert len(house.rings) == rings

    in_house(scenario)


def test_a_process_that_comes_back_after_another_one_took_its_name_ends() -> None:
    async def scenario(house: House) -> None:
        first = await house.join("a")
        await house.join("b")
        await house.settle("a", "b")
        first.freeze()
        await house.settle_without("a", "b")
        second = await house.join("a")
        await until(lambda: second.members.is_member)
        await asyncio.sleep(5)
        first.thaw()
        await until(lambda: first.error is not None)
        await asyncio.sleep(2)
        assert second.error is None

    in_house(scenario)


def test_a_gateway_that_lost_the_broker_owns_nothing_until_it_is_back() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        device = device_of("b", "a", "b")
        b.lose_broker()
        assert not b.members.owns(device)
        await until(lambda: house.ring.gateways == ("a",))
        await house.speak(device, "meanwhile")
        await asyncio.sleep(1)
        assert [one["by"] for one in house.results("meanwhile")] == ["a"]
        b.connect()
        await house.settle("a", "b")
        assert b.members.owns(device)

    in_house(scenario)


def test_a_ring_that_one_gateway_has_not_got_is_published_again() -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        b = await house.join("b")
        await house.settle("a", "b")
        for drops in (1, 2, 3):
            b.broker.drops = drops
            c = await house.join("c")
            await house.settle("a", "b", "c")
            c.kill()
            await house.settle("a", "b")

    in_house(scenario)


def test_a_divided_bucket_does_not_divide_the_house_for_long() -> None:
    async def scenario(house: House) -> None:
        for name in "abc":
            await house.join(name)
        await house.settle("a", "b", "c")
        house.divide(("a",), ("b", "c"))
        await asyncio.sleep(30)
        assert len(house.rings) < 6
        assert {one.members.gateways for one in house.gateways.values()} == {house.ring.gateways}
        house.divide()
        await asyncio.sleep(40)
        assert house.is_settled(("a", "b", "c"))

    in_house(scenario)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b'{"epoch":-1}', bytes(20_000)])
def test_what_is_no_message_of_a_gateway_changes_nothing_and_is_logged_once(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(house: House) -> None:
        await house.join("a")
        await house.settle("a")
        for _ in range(3):
            house.publish(RING, payload)
        house.put("b", payload)
        await asyncio.sleep(1)
        assert house.is_settled(("a",))

    in_house(scenario)
    assert sum("run the same version on all gateways" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_gateway_ends_although_its_cancellation_gets_lost_in_the_bucket(
    is_deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = 0
    hears = asyncio.Event()

    async def say_gateway(_: bytes) -> None:
        nonlocal began
        began += 1
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            if began > 1:
                raise
            while is_deaf and not hears.is_set():
                with suppress(asyncio.CancelledError):
                    await hears.wait()

    async def scenario(house: House) -> None:
        gateway = await house.join("a")
        await house.settle("a")
        monkeypatch.setattr(gateway, "say_gateway", say_gateway)
        await until(lambda: began > 0)
        closing = asyncio.create_task(gateway.members.close())
        await asyncio.wait({closing}, timeout=10.0)
        is_closed = closing.done()
        hears.set()
        await asyncio.sleep(10.0)
        assert is_closed
        assert "a" not in house.entries
        assert began == 1

    in_house(scenario)
