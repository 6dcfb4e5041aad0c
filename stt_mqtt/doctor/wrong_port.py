"""Whether TLS is missing, or too much, at an address that does not answer as it should."""

from __future__ import annotations

import socket
from dataclasses import replace

from stt_mqtt.config import Protocol
from stt_mqtt.doctor.listeners import trusting_context
from stt_mqtt.mqtt.messages import ClientOptions
from stt_mqtt.mqtt.probe import ProbeSession
from stt_mqtt.mqtt.reconnect import Cause

TRY_S = 2.0
"""Longest time for each attempt."""


def expects_tls(options: ClientOptions) -> bool:
    """Whether a TLS handshake succeeds there. Nothing else is sent."""
    try:
        with (
            socket.create_connection((options.host, options.port), TRY_S) as plain,
            trusting_context().wrap_socket(plain, server_hostname=options.host),
        ):
            return True
    except (OSError, ValueError):
        return False


def answers_without_tls(options: ClientOptions) -> bool:
    """Whether a broker answers there in MQTT without TLS. It is told no login."""
    plain = {"tls": None, "username": None, "protocol": Protocol.AUTO}
    config = options.config.model_copy(update=plain)
    session = ProbeSession(replace(options, config=config, password=None), lambda _: False)
    try:
        ending = session.open(TRY_S)
        return ending is None or ending.kind in {Cause.CREDENTIALS, Cause.REFUSED}
    finally:
        session.close()
