"""The snapshot: everything that the status page shows, as JSON."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from stt_mqtt import __version__
from stt_mqtt.core.clock import Moment
from stt_mqtt.core.device import Device
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.web.status_board import Room, StatusBoard
from stt_mqtt.mqtt.json import Json
from stt_mqtt.observe.history import BUCKET_S, Latencies, column
from stt_mqtt.observe.microphones import Judgement
from stt_mqtt.observe.process import rss_mb
from stt_mqtt.types import DeviceState

SNAPSHOT_VERSION = 1
MAX_ROOMS = 100
"""Rooms in a snapshot, those that were heard last. More would be a page that nobody reads."""
MAX_CLIENTS = 50
"""Most names of connected clients of a door."""
MAX_WORKERS = 100
"""Workers in a snapshot, the first ones by name."""
LIBRARIES = ("ctranslate2", "faster-whisper", "av", "numpy", "paho-mqtt", "aiohttp", "wyoming")

_Place: TypeAlias = tuple[str, str]
"""A room: its door and its name."""
_STATES = list(DeviceState)


def snapshot(board: StatusBoard) -> Json:
    """The snapshot of this moment. Times are seconds of the Unix epoch, by the clock of now."""
    clock = board.parts.clock
    moment = Moment(clock.now(), clock.epoch())
    devices, fleet = _devices(board), _fleet(board)
    places = sorted(
        {**devices, **board.rooms},
        key=lambda place: _seen_ts(board.rooms.get(place), devices.get(place, []), moment),
        reverse=True,
    )
    return {
        "v": SNAPSHOT_VERSION,
        "ts": round(moment.epoch, 3),
        "started": round(moment.epoch_of(board.started_at), 3),
        "state": _service_state(board),
        "version": __version__,
        "show_text": board.shows_text,
        "rooms": [
            _room(board, place, devices.get(place, []), moment) for place in places[:MAX_ROOMS]
        ],
        "hidden_rooms": max(len(places) - MAX_ROOMS, 0),
        "now": _now(board),
        "history": _history(board),
        "errors": [
            {
                "kind": trouble.kind,
                "count": trouble.count,
                "ts": round(moment.epoch_of(trouble.at), 3),
                "device": trouble.device,
                "detail": trouble.detail,
                "what_to_do": trouble.what_to_do,
            }
            for trouble in board.troubles.latest()
        ],
        "doors": [_door(door) for door in board.doors],
        "phrases": board.parts.phrases(),
        **({} if fleet is None else {"fleet": fleet}),
        "versions": _versions(board),
    }


def _devices(board: StatusBoard) -> dict[_Place, list[Device]]:
    """The registered devices of each room."""
    devices: dict[_Place, list[Device]] = {}
    for device in board.service.registry:
        devices.setdefault((device.key.door, device.key.name), []).append(device)
    return devices


def _seen_ts(room: Room | None, devices: list[Device], moment: Moment) -> float:
    """When a room was last heard or seen, by the clock of `moment`; 0: it is not known."""
    heard_at = None if room is None else room.seen_at
    heard_ts = 0.0 if heard_at is None else moment.epoch_of(heard_at)
    # By the clock of then, which may have been ahead.
    seen = (min(device.last_seen_ts, moment.epoch) for device in devices)
    return max([heard_ts, *seen])


def _room(board: StatusBoard, place: _Place, devices: list[Device], moment: Moment) -> Json:
    door, name = place
    room = board.rooms.get(place, Room())
    seen_ts = _seen_ts(room, devices, moment)
    ended_ts = round(moment.epoch_of(room.ended_at), 3)
    return {
        "name": name,
        "door": door,
        "state": _room_state(devices),
        "enabled": all(device.settings.enabled for device in devices),
        "seen": round(seen_ts, 3) if seen_ts else None,
        "utterances": room.utterances,
        "errors": room.errors,
        "dropped_chunks": sum(device.counters.dropped_chunks for device in devices),
        "last": None if room.last is None else {"ts": ended_ts, **room.last},
        "microphone": _microphone(board.microphones.judge(door, name, moment.now)),
    }


def _room_state(devices: list[Device]) -> str:
    """The state of a room: the first in the order of `DeviceState` of its devices."""
    states = {device.state for device in devices}
    return next((state.value for state in _STATES if state in states), DeviceState.IDLE.value)


def _microphone(judgement: Judgement) -> Json:
    return {
        "word": judgement.word.value,
        "reasons": [
            {"kind": finding.reason.value, "word": finding.word.value, "sentence": finding.sentence}
            for finding in judgement.findings
        ],
        "utterances": judgement.utterances,
        "speech_dbfs": _rounded(judgement.speech_dbfs, 1),
        "noise_dbfs": _rounded(judgement.noise_dbfs, 1),
        "snr_db": _rounded(judgement.snr_db, 1),
    }


def _service_state(board: StatusBoard) -> str:
    if not board.service.config.has_model:
        fleet = board.parts.fleet()
        if fleet is None:
            return "loading"
        return "serving" if fleet.problem is None else "alone"
    scheduler = board.service.scheduler
    if not scheduler.workers:
        return "loading"
    return "serving" if scheduler.healthy else "hanging"


def _now(board: StatusBoard) -> Json:
    service = board.service
    queue, status = service.scheduler.queue, service.rung_status
    rung = next((rung for rung in status.rungs if rung.name == status.active), None)
    return {
        "queue": {
            "jobs": queue.jobs,
            "audio_s": round(queue.audio_s, 1),
            "oldest_s": round(queue.oldest_s(board.parts.clock.now()), 1),
        },
        # A gateway has no model.
        "rung": {
            "active": status.active,
            "mode": status.mode,
            "reason": status.reason,
            "model": None if rung is None else rung.model,
        }
        if service.config.has_model
        else None,
        "cpu": _rounded(board.cpu, 2),
        "cores": len(os.sched_getaffinity(0)),
        "rss_mb": round(rss_mb()),
        "rtf": _rounded(service.metrics.rtf, 3),
    }


def _history(board: StatusBoard) -> Json:
    """The last hour, oldest minute first, and its figures."""
    minutes = board.history.minutes(board.parts.clock.now())
    latencies = [minute.latencies for minute in minutes]
    whole = Latencies.of(latencies)
    return {
        "bucket_s": BUCKET_S,
        "transcripts": [minute.transcripts for minute in minutes],
        "silent": [minute.silent for minute in minutes],
        "aborted": [minute.aborted for minute in minutes],
        "errors": [minute.errors for minute in minutes],
        "p50_s": [_rounded(found.quantile(0.5), 3) for found in latencies],
        "p95_s": [_rounded(found.quantile(0.95), 3) for found in latencies],
        "cpu": column(minutes, lambda minute: minute.cpu),
        "jobs": [minute.most_jobs for minute in minutes],
        "rung": [minute.rung for minute in minutes],
        "hour": {
            "utterances": sum(minute.utterances for minute in minutes),
            "p50_s": _rounded(whole.quantile(0.5), 3),
            "p95_s": _rounded(whole.quantile(0.95), 3),
        },
    }


def _door(door: DoorFacts) -> Json:
    clients = None if door.clients is None else list(door.clients[:MAX_CLIENTS])
    return {
        "name": door.name,
        "where": door.where,
        "on": door.on,
        "problem": door.problem,
        "clients": clients,
        "connected": None if door.clients is None else len(door.clients),
    }


def _fleet(board: StatusBoard) -> Json | None:
    """The fleet; None: there is none."""
    config, fleet = board.service.config.fleet, board.parts.fleet()
    if config is None or fleet is None:
        return None
    return {
        "name": fleet.name,
        "role": config.role.value,
        "node": fleet.gateway,
        "leads": fleet.leads,
        "problem": fleet.problem,
        "gateways": list(fleet.gateways),
        "in_flight": fleet.in_flight,
        "late": fleet.late,
        "again": fleet.again,
        "threads": fleet.threads,
        "busy": fleet.busy,
        "workers": [
            {
                "name": worker.worker,
                "threads": worker.threads,
                "busy": worker.busy,
                "model": worker.model,
                "rung": worker.rung,
                "cost": round(worker.cost, 4),
                "done": worker.done,
                "failed": worker.failed,
                "leaving": worker.leaving,
            }
            for worker in fleet.workers[:MAX_WORKERS]
        ],
        "hidden_workers": max(len(fleet.workers) - MAX_WORKERS, 0),
    }


def _versions(board: StatusBoard) -> list[Json]:
    service = board.service
    rungs = service.rung_status.rungs if service.config.has_model else ()
    models = [
        {"name": f"model {rung.name}", "version": f"{rung.model}, {rung.compute_type}"}
        for rung in rungs
    ]
    return [*models, *_libraries()]


@cache
def _libraries() -> tuple[Json, ...]:
    """Name and version of what the service runs on."""
    found: list[Json] = [
        {"name": "stt-mqtt", "version": __version__},
        {"name": "Python", "version": platform.python_version()},
    ]
    for name in LIBRARIES:
        try:
            found.append({"name": name, "version": version(name)})
        except PackageNotFoundError:
            continue
    return tuple(found)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
