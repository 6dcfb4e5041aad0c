"""Which services are live on the base topic, and whether the broker at hand is the embedded one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from stt_mqtt.app.broker import instance_id
from stt_mqtt.app.sources import resolve_password
from stt_mqtt.config import BrokerMode, ListenAddress, Protocol, Scheme
from stt_mqtt.doctor.listeners import connected, is_service_here
from stt_mqtt.doctor.probe_topics import ProbeTopics
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.native.instances import instance_in
from stt_mqtt.doors.native.topics import ONLINE
from stt_mqtt.mqtt.json import object_in
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.probe import ProbeSession
from stt_mqtt.mqtt.reconnect import Cause

CONNECT_S = 6.0
ANSWER_S = 3.0
"""Longest time for each answer of the broker."""
SERVICE_S = 3.0
"""How long a service may take to answer that has said to be online."""
SILENCE_S = 0.5
"""How long a service may take to answer that has not said to be online, or a second one."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_NOT_IN_V5 = {Cause.NO_ANSWER, Cause.UNSUPPORTED, Cause.UNREACHABLE}
"""Endings of a connection in MQTT 5 if the program does not speak it."""


def said_state(session: ProbeSession, topics: ProbeTopics) -> bytes | None:
    """The retained state of the service; None: there is none."""
    messages = session.messages
    return next((m.payload for m in messages if m.topic == topics.state and m.retain), None)


def live_services(session: ProbeSession, topics: ProbeTopics, own: str) -> list[str]:
    """The instances that answer the request which was sent with the transaction `own`."""

    def answers(messages: list[Inbound]) -> list[str]:
        fields = (
            object_in(m.payload, MAX_ANSWER_BYTES) for m in messages if m.topic == topics.response
        )
        mine = [one for one in fields if one.get("transaction") == own]
        return list(dict.fromkeys(instance_in(one.get("data")) for one in mine))

    patience_s = SERVICE_S if said_state(session, topics) == ONLINE else SILENCE_S
    if session.wait_for(lambda messages: bool(answers(messages)), patience_s):
        session.wait_for(lambda messages: len(answers(messages)) > 1, SILENCE_S)
    return answers(session.messages)


def keep_out(live: Sequence[str], subject: Subject) -> bool:
    """Whether the services that answer keep one with this configuration from running here.

    Not if one of them may be the service itself: it runs here, or nothing tells whether it does.
    """
    config = subject.config
    if not live or subject.service is not None or config.mqtt.takeover:
        return False
    if config.fleet is not None and instance_id(config) in live:
        return False
    # The embedded broker was found to be that of the service.
    return config.broker.mode is BrokerMode.EXTERNAL and is_service_here(config) is False


def is_of_another(subject: Subject) -> bool:
    """Whether somebody else than the service has the port of its embedded broker.

    It is the service if one answers on the base topic. While it loads its model, only its pages
    tell. Raises `ConfigError` if the password cannot be read.
    """
    broker = subject.config.broker
    if broker.mode is not BrokerMode.EMBEDDED or subject.service is not None:
        return False
    try:
        connected(ListenAddress(Scheme.TCP, broker.listen, broker.port)).close()
    except OSError:
        return False
    if _speaks_v5(subject):
        # The embedded broker does not.
        return True
    return not (_is_answered(subject) or is_service_here(subject.config))


def _speaks_v5(subject: Subject) -> bool:
    """Whether the broker answers in MQTT 5. It is told no login: it may be a stranger's."""
    session = _session(subject, {"protocol": Protocol.V5, "username": None}, None)
    try:
        ending = session.open(CONNECT_S)
        return ending is None or ending.kind not in _NOT_IN_V5
    finally:
        session.close()


def _is_answered(subject: Subject) -> bool:
    topics, own = ProbeTopics(subject.config), secrets.token_hex(8)
    session = _session(subject, {}, resolve_password(subject.config.mqtt))
    try:
        if session.open(CONNECT_S) is not None:
            return False
        session.subscribe([topics.response, topics.state], ANSWER_S)
        about = json.dumps({"transaction": own, "id": own}).encode()
        session.publish([Publication(topics.request, about)], ANSWER_S)
        return bool(live_services(session, topics, own))
    finally:
        session.close()


def _session(subject: Subject, changes: dict[str, object], password: str | None) -> ProbeSession:
    config = subject.config
    mqtt = reachable(config.mqtt, config.broker).model_copy(update=changes)
    options = ClientOptions(mqtt, mqtt.host, mqtt.effective_port, password=password)
    return ProbeSession(options, ProbeTopics(config).is_wanted)
