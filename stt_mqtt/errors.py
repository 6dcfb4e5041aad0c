"""Every error of the program on one page.

There are two families. An `UtteranceError` becomes the outcome of one utterance and has a stable
code, which clients see. The others stop a command and have its exit status. Exceptions of
third-party libraries are translated into these where they are raised.
"""

from __future__ import annotations

from typing import ClassVar

from stt_mqtt.hints import Hint

EXIT_INTERNAL = 70
EXIT_TEMPORARY = 75
EXIT_CONFIG = 78


class SttMqttError(Exception):
    """Base of all errors that this program raises on purpose."""

    exit_code: ClassVar[int] = EXIT_INTERNAL


class ConfigError(SttMqttError):
    """The configuration cannot be used. `problems` has one complete line per mistake."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ModelError(SttMqttError):
    """A model is missing, damaged or cannot be loaded. The message says what to do."""

    exit_code = EXIT_CONFIG


class NotEnoughMemoryError(ModelError):
    """There is not enough memory for a model now. A later try may succeed."""

    exit_code = EXIT_TEMPORARY


class MissingExtraError(SttMqttError):
    """An optional part of the program is not installed. `module` could not be imported."""

    exit_code = EXIT_CONFIG

    def __init__(self, module: str | None, extra: str = "server") -> None:
        super().__init__(f"{module} is not installed; this needs: pip install 'stt-mqtt[{extra}]'")


class BrokerError(SttMqttError):
    """The broker cannot be reached or started right now."""

    exit_code = EXIT_TEMPORARY


class AnotherServiceError(SttMqttError):
    """Another service runs on the same base topic. The message says what to do."""

    exit_code = EXIT_CONFIG


class WyomingServerError(SttMqttError):
    """A Wyoming server does not do what Home Assistant needs. The message says what to do."""

    exit_code = EXIT_TEMPORARY


class HomeAssistantError(SttMqttError):
    """Home Assistant is away, or its answer cannot be used. A later try may succeed.

    `reason`: a stable word for clients.
    """

    exit_code = EXIT_TEMPORARY

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class AccessRefusedError(HomeAssistantError):
    """Home Assistant refuses the access token, or its user may not do what is needed."""

    exit_code = EXIT_CONFIG


class FleetError(SttMqttError):
    """The NATS servers of the fleet are away or refuse something. A later try may succeed."""

    exit_code = EXIT_TEMPORARY


class JobsFullError(FleetError):
    """The stream of jobs is full."""


class DownloadError(SttMqttError):
    """A download failed because of the network or the server. A later try may succeed."""

    exit_code = EXIT_TEMPORARY


class OutputError(SttMqttError):
    """A command cannot write its output, mostly because the disk is full."""

    exit_code = EXIT_TEMPORARY


class RequestError(SttMqttError):
    """A request that the service does not know or cannot fulfil."""


class UtteranceError(SttMqttError):
    """One utterance ends with an error. `code` is stable: clients depend on it."""

    code: ClassVar[str]
    hint: Hint | None = None
    """What looks wrong with the audio, if that was found before the error."""

    @property
    def detail(self) -> str:
        """Sentence for the person who has to fix it."""
        return str(self) if self.hint is None else f"{self}. {self.hint.sentence}"


class BadPayloadError(UtteranceError):
    """A message that does not have the form that its topic needs."""

    code = "bad_payload"


class PayloadTooLargeError(UtteranceError):
    """A message that is larger than `mqtt.max_payload_kib`."""

    code = "payload_too_large"


class UnsupportedFormatError(UtteranceError):
    """A codec, rate, channel count or container that this service does not decode."""

    code = "unsupported_format"


class UnsupportedLanguageError(UtteranceError):
    """A language that the loaded model does not understand."""

    code = "unsupported_language"


class CorruptAudioError(UtteranceError):
    """Bytes that claim to be audio and are not."""

    code = "corrupt_audio"


class TooShortError(UtteranceError):
    """Less than 100 ms of decoded audio."""

    code = "too_short"


class TooLongError(UtteranceError):
    """More audio than the limits allow, with `on_cap: reject`."""

    code = "too_long"


class DisabledError(UtteranceError):
    """The device is switched off by configuration or by its `set` topic."""

    code = "disabled"


class OverloadedError(UtteranceError):
    """A queue or buffer of the service is full."""

    code = "overloaded"


class ExpiredError(UtteranceError):
    """The utterance waited too long, or the speech is too old."""

    code = "expired"


class TooManyDevicesError(UtteranceError):
    """`limits.max_devices` is reached, and no device can be forgotten."""

    code = "too_many_devices"


class ModelUnavailableError(UtteranceError):
    """No model is loaded."""

    code = "model_unavailable"


class InferenceFailedError(UtteranceError):
    """The model raised an exception."""

    code = "inference_failed"


class InferenceTimeoutError(UtteranceError):
    """The model did not answer within `limits.inference_timeout_s`."""

    code = "inference_timeout"


class ShuttingDownError(UtteranceError):
    """The service is stopping and did not get to this utterance."""

    code = "shutting_down"


_TOO_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"})


def is_old_tls(error: Exception) -> bool:
    """Whether a TLS handshake failed because the other side speaks no version that is new enough.

    `error`: mostly an `ssl.SSLError`, which has the reason of OpenSSL.
    """
    return getattr(error, "reason", None) in _TOO_OLD
