"""All errors of the program.

An `UtteranceError` becomes the outcome of one utterance. Its code is part of the wire contract. The
other errors stop a command and have an exit status. Third-party exceptions are translated into
these where they are caught.
"""

from __future__ import annotations

from typing import ClassVar

from stt_mqtt.hints import Hint

EXIT_INTERNAL = 70
EXIT_TEMPORARY = 75
EXIT_CONFIG = 78


class SttMqttError(Exception):
    """Base class of all errors that this program raises on purpose."""

    exit_code: ClassVar[int] = EXIT_INTERNAL


class ConfigError(SttMqttError):
    """The configuration is invalid. `problems` has one line per mistake."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ModelError(SttMqttError):
    """A model is missing, damaged or cannot be loaded. The message says what to do."""

    exit_code = EXIT_CONFIG


class NotEnoughMemoryError(ModelError):
    """There is not enough memory for another model now."""


class MissingExtraError(SttMqttError):
    """An optional package is not installed. `module` is the one that could not be imported."""

    exit_code = EXIT_CONFIG

    def __init__(self, module: str | None, extra: str = "server") -> None:
        super().__init__(f"{module} is not installed; this needs: pip install 'stt-mqtt[{extra}]'")


class BrokerError(SttMqttError):
    """The broker cannot be reached or started right now."""

    exit_code = EXIT_TEMPORARY


class AnotherServiceError(SttMqttError):
    """Another service is live on the same base topic. The message says what to do."""

    exit_code = EXIT_CONFIG


class WyomingServerError(SttMqttError):
    """A Wyoming server does not do what Home Assistant needs. The message says what to do."""

    exit_code = EXIT_TEMPORARY


class DownloadError(SttMqttError):
    """A download failed because of the network or the server."""

    exit_code = EXIT_TEMPORARY


class OutputError(SttMqttError):
    """The output of a command cannot be written, for example because the disk is full."""

    exit_code = EXIT_TEMPORARY


class RequestError(SttMqttError):
    """A request to the service is unknown or cannot be granted."""


class UtteranceError(SttMqttError):
    """An utterance ends with an error. `code` is part of the wire contract."""

    code: ClassVar[str]
    hint: Hint | None = None
    """The hint about the audio that was found before the error."""

    @property
    def detail(self) -> str:
        """The sentence for the user, with the hint if there is one."""
        return str(self) if self.hint is None else f"{self}. {self.hint.sentence}"


class BadPayloadError(UtteranceError):
    """A message does not have the form that its topic requires."""

    code = "bad_payload"


class PayloadTooLargeError(UtteranceError):
    """A message is larger than `mqtt.max_payload_kib`."""

    code = "payload_too_large"


class UnsupportedFormatError(UtteranceError):
    """A codec, rate, channel count or container is not supported."""

    code = "unsupported_format"


class UnsupportedLanguageError(UtteranceError):
    """A language is not supported by the loaded model."""

    code = "unsupported_language"


class CorruptAudioError(UtteranceError):
    """The bytes of an utterance cannot be decoded as audio."""

    code = "corrupt_audio"


class TooShortError(UtteranceError):
    """The decoded audio is too short for a word."""

    code = "too_short"


class TooLongError(UtteranceError):
    """The audio reached a cap, and `on_cap` is `reject`."""

    code = "too_long"


class DisabledError(UtteranceError):
    """The device is disabled by the configuration or by its `set` topic."""

    code = "disabled"


class OverloadedError(UtteranceError):
    """A queue or buffer of the service is full."""

    code = "overloaded"


class ExpiredError(UtteranceError):
    """The speech is too old for a command."""

    code = "expired"


class TooManyDevicesError(UtteranceError):
    """The device registry is full of busy devices."""

    code = "too_many_devices"


class ModelUnavailableError(UtteranceError):
    """No model is loaded yet."""

    code = "model_unavailable"


class InferenceFailedError(UtteranceError):
    """The model raised."""

    code = "inference_failed"


class InferenceTimeoutError(UtteranceError):
    """The model did not answer in time."""

    code = "inference_timeout"


class ShuttingDownError(UtteranceError):
    """The service stopped before it transcribed this utterance."""

    code = "shutting_down"
