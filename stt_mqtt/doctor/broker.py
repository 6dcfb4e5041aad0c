"""Checks the broker with a connection of its own: TLS, password, rights, and who else is there.

Nothing that is published here reaches a satellite or changes anything in a running service: a
request for its health, an abort and a reply of a device that does not exist, and the removal of a
discovery message that does not exist.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace

from stt_mqtt.app.sources import resolve_password
from stt_mqtt.config import BrokerMode, MqttConfig, Protocol
from stt_mqtt.doctor import services
from stt_mqtt.doctor.listeners import trusting_context
from stt_mqtt.doctor.probe_topics import NOBODY, ProbeTopics
from stt_mqtt.doctor.report import Finding, fail, ok, warn
from stt_mqtt.doctor.rights import Echoes, judged_rights
from stt_mqtt.doctor.services import is_of_another, keep_out, live_services, said_state
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.homeassistant.names import SERVICE_ID
from stt_mqtt.doors.native.topics import OFFLINE, ONLINE
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.connection import Ending
from stt_mqtt.mqtt.messages import ClientOptions, Inbound, Publication
from stt_mqtt.mqtt.probe import ProbeSession
from stt_mqtt.mqtt.reconnect import Cause
from stt_mqtt.mqtt.tls import tls_context

BROKER, SERVICE, DISCOVERY = "broker", "service", "discovery"
ECHO_S = 4.0
"""How long the broker may take to send a message back, behind all retained ones."""
TRY_S = 2.0
"""Longest time for an attempt with TLS, or without, at a port that does not answer as it should."""


def check_broker(subject: Subject) -> list[Finding]:
    """All findings at the broker. Raises `ConfigError` if the password cannot be read."""
    config = subject.config
    if not config.has_doors:
        return [ok(BROKER, "a worker of a fleet needs no broker")]
    mqtt = reachable(config.mqtt, config.broker)
    if mqtt.tls is not None:
        try:
            tls_context(mqtt.tls)
        except BrokerError as error:
            return [fail(BROKER, str(error), "correct the section mqtt.tls")]
    if is_of_another(subject):
        detail = f"{mqtt.host}:{mqtt.port} is not the embedded broker of the service"
        return [fail(BROKER, detail, "see ports")]
    topics = ProbeTopics(config)
    options = ClientOptions(
        mqtt, mqtt.host, mqtt.effective_port, password=resolve_password(config.mqtt)
    )
    session = ProbeSession(options, topics.is_wanted)
    try:
        ending = session.open(services.CONNECT_S)
        if ending is not None:
            return [_not_connected(ending, options, subject)]
        encrypted = "without TLS" if mqtt.tls is None else "with TLS"
        login = "" if mqtt.username is None else ", the login is accepted"
        connected = f"{options.address} answers in MQTT {session.protocol} {encrypted}{login}"
        return [
            *_own_connection(subject, ok(BROKER, connected)),
            *_at_broker(session, topics, subject),
        ]
    finally:
        session.close()


def _not_connected(ending: Ending, options: ClientOptions, subject: Subject) -> Finding:
    if subject.config.broker.mode is BrokerMode.EMBEDDED:
        return _embedded_not_connected(ending, runs=subject.service is not None)
    detail, _, advice = ending.reason.partition("; ")
    match ending.kind:
        case Cause.CREDENTIALS:
            return fail(BROKER, detail, _login_advice(options.config))
        case Cause.TLS:
            return fail(BROKER, detail, advice)
        case Cause.UNSUPPORTED:
            return fail(BROKER, detail, "check mqtt.port, or set mqtt.protocol: auto")
        case Cause.REFUSED:
            return fail(BROKER, detail, "look at the log of the broker", temporary=True)
    what_to_do = advice or "check mqtt.host and mqtt.port, and that the broker runs"
    return _wrong_port(options) or fail(BROKER, detail, what_to_do, temporary=True)


def _wrong_port(options: ClientOptions) -> Finding | None:
    """That TLS is missing there, or too much; None: it is neither, as far as the port tells."""
    if options.config.tls is None:
        detail = f"{options.address} expects TLS"
        what_to_do = "set mqtt.tls with the ca_file of the broker, or another mqtt.port"
        return fail(BROKER, detail, what_to_do) if _expects_tls(options) else None
    detail = f"{options.address} answers in MQTT without TLS"
    what_to_do = "set the mqtt.port on which it expects TLS, or remove mqtt.tls"
    return fail(BROKER, detail, what_to_do) if _answers_without_tls(options) else None


def _expects_tls(options: ClientOptions) -> bool:
    """Whether a TLS handshake succeeds there. Nothing else is sent."""
    try:
        with (
            socket.create_connection((options.host, options.port), TRY_S) as plain,
            trusting_context().wrap_socket(plain, server_hostname=options.host),
        ):
            return True
    except (OSError, ValueError):
        return False


def _answers_without_tls(options: ClientOptions) -> bool:
    """Whether a broker answers there in MQTT without TLS. It is told no login."""
    plain = {"tls": None, "username": None, "protocol": Protocol.AUTO}
    config = options.config.model_copy(update=plain)
    session = ProbeSession(replace(options, config=config, password=None), lambda _: False)
    try:
        ending = session.open(TRY_S)
        return ending is None or ending.kind in {Cause.CREDENTIALS, Cause.REFUSED}
    finally:
        session.close()


def _embedded_not_connected(ending: Ending, runs: bool) -> Finding:
    """`runs`: whether the service runs, and examines itself."""
    if not runs and ending.kind is Cause.UNREACHABLE:
        return warn(
            BROKER,
            f"the embedded broker runs inside the service, which does not run ({ending.reason})",
            "start the service, then run this again",
        )
    # The embedded broker hangs up on a wrong login.
    if not runs and ending.kind in {Cause.CREDENTIALS, Cause.NO_ANSWER}:
        detail = "the embedded broker does not take the login: the service runs with an older one"
        return warn(BROKER, detail, "restart the service")
    detail = f"the embedded broker does not answer ({ending.reason})"
    what_to_do = "look at the log of the service, and restart it"
    return fail(BROKER, detail, what_to_do, temporary=True)


def _login_advice(mqtt: MqttConfig) -> str:
    if mqtt.username is not None:
        return "check mqtt.username and mqtt.password or password_file"
    login = "set mqtt.username and mqtt.password or password_file"
    shown = mqtt.tls is not None and mqtt.tls.cert_file is not None
    return f"check mqtt.tls.cert_file, or {login}" if shown else login


def _own_connection(subject: Subject, reached: Finding) -> Iterator[Finding]:
    if subject.service is None or subject.service.connected:
        yield reached
        return
    yield fail(
        BROKER,
        f"{reached.detail}, but the service is not connected",
        "see the log of the service for the reason; it tries again by itself",
        temporary=True,
    )


def _at_broker(session: ProbeSession, topics: ProbeTopics, subject: Subject) -> Iterator[Finding]:
    """Rights, other services and Home Assistant."""
    config = subject.config
    own = secrets.token_hex(8)
    filters = [*topics.filters, topics.response, *topics.said]
    subscribed = session.subscribe(filters, services.ANSWER_S)
    about = json.dumps({"transaction": own, "id": own}).encode()
    publications = [Publication(topic, about) for topic in (topics.request, topics.heard)]
    # Without `playing` or `muted`, a satellite would change nothing.
    publications += [Publication(topic, about) for topic in topics.said]
    if config.homeassistant.enabled:
        publications.append(Publication(topics.discovery(NOBODY), b""))
    written = session.publish(publications, services.ANSWER_S)
    readable = {topics.request, topics.heard, *topics.said}
    awaited = {topic for topic, refusal in written.items() if refusal is None} & readable

    def came_back(messages: list[Inbound]) -> set[str]:
        return {message.topic for message in messages if own.encode() in message.payload}

    session.wait_for(lambda messages: awaited <= came_back(messages), ECHO_S)
    unanswered = {publication.topic for publication in publications} - written.keys()
    echoes = Echoes(subscribed, written, unanswered, came_back(session.messages))
    yield from judged_rights(topics, echoes, session.protocol)
    if topics.request in echoes.came_back:
        yield _services(session, topics, own, subject)
    else:
        yield warn(
            SERVICE,
            "whether a service runs on the base topic cannot be told without the right to ask it",
            "see rights",
        )
    if config.homeassistant.enabled:
        yield _home_assistant(session, topics)


def _services(session: ProbeSession, topics: ProbeTopics, own: str, subject: Subject) -> Finding:
    """Whether a service is live on the base topic."""
    said, base = said_state(session, topics), topics.native.base
    live = live_services(session, topics, own)
    if keep_out(live, subject):
        return fail(
            SERVICE,
            f"another service, instance {live[0]}, answers on the base topic {base}, and none "
            "runs here: a second one ends at once",
            "end it, give this one another mqtt.base_topic, or set mqtt.takeover: true",
        )
    if len(live) > 1:
        return warn(
            SERVICE,
            f"{len(live)} services answer on the base topic {base}: everything is answered twice",
            "end one of them, or give it another mqtt.base_topic",
        )
    if live:
        return ok(SERVICE, f"a service answers on the base topic {base}, instance {live[0]}")
    if said == ONLINE:
        return warn(
            SERVICE,
            f"{topics.state} says online, but no service answers: it hangs, or was cut off",
            "look at the log of the service, or start it again",
        )
    ended = " (it has ended)" if said == OFFLINE else ""
    return ok(SERVICE, f"no service runs on the base topic {base}{ended}")


def _home_assistant(session: ProbeSession, topics: ProbeTopics) -> Finding:
    """Whether Home Assistant has said that it listens. Its message is not retained by default."""
    said = next((m.payload for m in session.messages if m.topic == topics.birth), None)
    if said == OFFLINE:
        return warn(
            DISCOVERY,
            f"{topics.birth} says offline",
            "start Home Assistant, or its MQTT integration",
        )
    announced = any(m.topic == topics.discovery(SERVICE_ID) for m in session.messages)
    described = "the service is announced" if announced else "no service is announced"
    if said == ONLINE:
        return ok(DISCOVERY, f"{topics.birth} says online; {described}")
    return ok(
        DISCOVERY,
        f"{described}; {topics.birth} is not retained, which is usual, so whether Home Assistant "
        "is there cannot be told",
    )
