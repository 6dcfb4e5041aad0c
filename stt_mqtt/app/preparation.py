"""What is needed before the service is built."""

from __future__ import annotations

import logging
import sys

from stt_mqtt.app.book import BookKeeper
from stt_mqtt.app.fleet import every_language
from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config import BrokerMode, Config
from stt_mqtt.doors.embedded import EmbeddedBroker
from stt_mqtt.engine.loading import supported_languages
from stt_mqtt.errors import ConfigError
from stt_mqtt.names.store import default_state_dir
from stt_mqtt.observe.kept_audio import KeptAudio

log = logging.getLogger(__name__)


def prepare(config: Config, password: str | None, book: BookKeeper) -> frozenset[str]:
    """Load the phrase book and start the embedded broker; return the languages of every rung.

    Raises `BrokerError`, and for the book `ConfigError` or `MissingExtraError`.
    """
    languages = spoken_languages(config)
    book.load(languages)
    if config.broker.mode is BrokerMode.EMBEDDED:
        start_embedded(config, password)
    return languages


def spoken_languages(config: Config) -> frozenset[str]:
    """Codes of the languages of every rung; empty: all models are missing.

    A gateway of a fleet has no rungs: its languages are all that Whisper has.
    """
    return supported_languages(config) if config.has_model else every_language()


def start_embedded(config: Config, password: str | None) -> None:
    """Start the broker inside this process. Raises `BrokerError`."""
    username = config.mqtt.username
    login = None if username is None else (username, password or "")
    EmbeddedBroker(config.broker, login, config.mqtt.max_payload_kib * 1024).start()
    log.info("embedded broker listens on %s:%d", config.broker.listen, config.broker.port)


def start_decoders(config: Config) -> Decoders:
    """Start what decodes.

    Raises ConfigError if this system cannot isolate it.
    """
    if not config.audio.isolate:
        return IN_THIS_PROCESS
    if sys.platform != "linux":
        raise ConfigError(["audio.isolate needs Linux: remove it, or use a container"])
    from stt_mqtt.engine.isolated import IsolatedDecoders

    decoders = IsolatedDecoders()
    decoders.start()
    return decoders


def start_kept_audio(config: Config, decoders: Decoders) -> KeptAudio:
    """Start to keep recordings, if they are wanted, and to delete old ones."""
    max_s = config.limits.max_decoded_s
    kept = KeptAudio(config.keep_audio, default_state_dir(), decoders.whole, max_s)
    kept.start()
    return kept
