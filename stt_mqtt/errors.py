"""Every error of the program on one page.

Two families: an `UtteranceError` becomes the outcome of one utterance and carries the stable
code that the wire shows; the others stop a command and carry its exit status. Third-party
exceptions are translated into these where they enter.
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
    """The configuration cannot be used; `problems` holds one finished line per mistake."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ModelError(SttMqttError):
    """A model is missing, damaged or cannot be loaded; the message says what to do."""

    exit_code = EXIT_CONFIG


class NotEnoughMemoryError(ModelError):
    """A model does not fit beside what is loaded; perhaps later."""


class MissingExtraError(SttMqttError):
    """A part of the program was not installed; `module` is what could not be imported."""

    exit_code = EXIT_CONFIG

    def __init__(self, module: str | None, extra: str = "server") -> None:
        super().__init__(f"{module} is not installed; this needs: pip install 'stt-mqtt[{extra}]'")


class BrokerError(SttMqttError):
    """The broker cannot be reached or started right now."""

    exit_code = EXIT_TEMPORARY


class AnotherServiceError(SttMqttError):
    """Another service is live on the same base topic; the message says what to do."""

    exit_code = EXIT_CONFIG


class WyomingServerError(SttMqttError):
    """A Wyoming server does not do what Home Assistant needs; the message says what to do."""

    exit_code = EXIT_TEMPORARY


class DownloadError(SttMqttError):
    """Something could not be fetched right now: the network, or the index behind it."""

    exit_code = EXIT_TEMPORARY


class OutputError(SttMqttError):
    """What a command prints cannot be written: a full disk, most of the time."""

    exit_code = EXIT_TEMPORARY


class RequestError(SttMqttError):
    """A request to the service that it does not know or cannot grant."""


class UtteranceError(SttMqttError):
    """One utterance ends with an error; `code` is part of the wire contract."""

    code: ClassVar[str]
    hint: Hint | None = None
    """What looked wrong with the audio before the error was found."""

    @property
    def detail(self) -> str:
        """Sentence for the person who has to fix it."""
        return str(self) if self.hint is None else f"{self}. {self.hint.sentence}"


class BadPayloadError(UtteranceError):
    """A message that does not have the form its topic asks for."""

    code = "bad_payload"


class PayloadTooLargeError(UtteranceError):
    """A message over `mqtt.max_payload_kib`."""

    code = "payload_too_large"


class UnsupportedFormatError(UtteranceError):
    """A codec, rate, channel count or container that this service does not decode."""

    code = "unsupported_format"


class UnsupportedLanguageError(UtteranceError):
    """A language that the loaded model does not speak."""

    code = "unsupported_language"


class CorruptAudioError(UtteranceError):
    """Bytes that claim to be audio and are not."""

    code = "corrupt_audio"


class TooShortError(UtteranceError):
    """Less decoded audio than anybody can say a word in."""

    code = "too_short"


class TooLongError(UtteranceError):
    """More audio than the caps allow, under `on_cap: reject`."""

    code = "too_long"


class DisabledError(UtteranceError):
    """The device is switched off by configuration or by its `set` topic."""

    code = "disabled"


class OverloadedError(UtteranceError):
    """A queue or buffer of the service is full."""

    code = "overloaded"


class ExpiredError(UtteranceError):
    """The utterance waited longer than a spoken command is worth."""

    code = "expired"


class TooManyDevicesError(UtteranceError):
    """The device registry is full of busy devices."""

    code = "too_many_devices"


class ModelUnavailableError(UtteranceError):
    """No model is loaded that could transcribe."""

    code = "model_unavailable"


class InferenceFailedError(UtteranceError):
    """The model raised."""

    code = "inference_failed"


class InferenceTimeoutError(UtteranceError):
    """The model did not answer within its time."""

    code = "inference_timeout"


class ShuttingDownError(UtteranceError):
    """The service is stopping and did not get to this utterance."""

    code = "shutting_down"
