from __future__ import annotations

import sys
import tracemalloc

import pytest

from stt_mqtt.audio.buffer import AudioCap
from stt_mqtt.config import Config
from stt_mqtt.core.budget import Budget, DeviceContext
from stt_mqtt.core.registry import Registry
from stt_mqtt.core.settings import SettingsChange
from stt_mqtt.errors import RequestError, TooManyDevicesError
from stt_mqtt.types import DeviceKey
from tests.fakes import FakeClock, RecordingOutlet


def key(name: str) -> DeviceKey:
    return DeviceKey("native", name)


def registry(places: int, *configured: str) -> Registry:
    config = {"limits": {"max_devices": places}, "devices": {name: {} for name in configured}}
    context = DeviceContext(AudioCap(30.0, 2**21), Budget(2**26), lambda: "id")
    return Registry(Config.model_validate(config), context, FakeClock())


def names(devices: Registry) -> list[str]:
    return [device.key.name for device in devices]


def test_a_device_is_made_once_and_found_again() -> None:
    devices = registry(2)
    made = devices.get_or_add(key("a"))
    assert devices.get_or_add(key("a")) is made
    assert devices.find(key("a")) is made
    assert devices.find(key("b")) is None
    assert len(devices) == 1


def test_the_least_recently_used_idle_device_leaves_for_a_new_one() -> None:
    devices = registry(2)
    devices.get_or_add(key("a"))
    devices.get_or_add(key("b"))
    devices.get_or_add(key("a"))
    devices.get_or_add(key("c"))
    assert names(devices) == ["a", "c"]


def test_made_up_names_at_one_door_leave_room_for_the_others() -> None:
    devices = registry(2)
    for name in "ab":
        devices.get_or_add(key(name)).chunk(b"xx", None, None, 0.0)
    client = DeviceKey("wyoming", "10.0.0.9", "1")
    devices.get_or_add(client)
    with pytest.raises(TooManyDevicesError):
        devices.get_or_add(key("c"))
    assert devices.find(client) is not None


def test_busy_and_configured_devices_stay() -> None:
    devices = registry(2, "a")
    devices.get_or_add(key("a"))
    busy = devices.get_or_add(key("b"))
    busy.chunk(b"xx", None, None, 0.0)
    with pytest.raises(TooManyDevicesError):
        devices.get_or_add(key("c"))
    busy.abort(None, 0.1)
    devices.get_or_add(key("c"))
    assert names(devices) == ["a", "c"]


def test_a_device_with_changed_settings_stays_because_a_mute_must_not_be_forgotten() -> None:
    devices = registry(2)
    muted = devices.get_or_add(key("muted"))
    muted.change(SettingsChange(enabled=False), 0.0)
    devices.get_or_add(key("b"))
    devices.get_or_add(key("c"))
    assert names(devices) == ["muted", "c"]
    muted.change(SettingsChange(enabled=None), 0.0)
    devices.get_or_add(key("d"))
    assert names(devices) == ["c", "d"]


def test_the_devices_of_one_door_are_told_again_and_no_others() -> None:
    devices = registry(3)
    told = RecordingOutlet()
    for door in ("native", "hermes"):
        devices.observers.add(door, told)
        devices.register(DeviceKey(door, f"{door}-room"))
    told.told.clear()
    devices.announce("native")
    assert [name for name, _ in told.told] == ["settings native-room", "state native-room"]


def test_an_idle_device_costs_two_kilobytes_at_most() -> None:
    devices = registry(1000)
    sys.intern("native")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(1000):
        devices.get_or_add(key(f"room-{number}"))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 1000 < 2048


def test_who_is_restored_has_its_settings_if_there_is_room() -> None:
    devices = registry(1)
    devices.restore(key("a"), None, 5.0)
    devices.restore(key("b"), None, 6.0)
    assert names(devices) == ["a"]


def test_who_is_configured_or_speaks_is_not_forgotten() -> None:
    devices = registry(2, "a")
    devices.get_or_add(key("a"))
    devices.get_or_add(key("b")).chunk(b"xx", None, None, 0.0)
    with pytest.raises(RequestError, match="never forgotten"):
        devices.forget(key("a"))
    with pytest.raises(RequestError, match="listening; try again"):
        devices.forget(key("b"))
    assert names(devices) == ["a", "b"]


def test_who_is_idle_is_forgotten() -> None:
    devices = registry(1)
    devices.get_or_add(key("a"))
    devices.forget(key("a"))
    assert names(devices) == []


def test_who_is_not_known_can_be_forgotten_and_takes_no_place_from_others() -> None:
    devices = registry(1)
    devices.forget(key("stranger"))
    devices.get_or_add(key("a"))
    assert names(devices) == ["a"]
