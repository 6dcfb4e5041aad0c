"""The last errors by kind, with what to do about each. Pure and bounded.

The kinds are closed lists. Times are monotonic seconds: the clock may be set later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stt_mqtt import errors
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import Outcome

KINDS = 64
"""Most kinds that are kept. There are fewer."""
MAX_DETAIL = 300
"""Most characters of a detail."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of error. `count`: since the start. `device` None: it belongs to none."""

    kind: str
    count: int
    at: float
    device: str | None
    detail: str
    what_to_do: str


class Troubles:
    """Remembers the last error of each kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Trouble] = {}
        self._dropped: dict[str, int] = {}

    def outcome(self, outcome: Outcome, now: float) -> None:
        """Note the error of an outcome, if it has one."""
        if outcome.error is not None:
            device, code = outcome.key.name, outcome.error.code
            self._note(code, 1, now, device, outcome.error.detail)

    def dropped(self, counts: Mapping[str, int], now: float) -> None:
        """Note what was dropped, by the total of each reason since the start."""
        for reason, count in counts.items():
            more = count - self._dropped.get(reason, 0)
            if more > 0 and reason in DROPPED:
                self._dropped[reason] = count
                self._note(reason, more, now, None, DROPPED[reason][0])

    def latest(self) -> list[Trouble]:
        """The last error of each kind, the newest first."""
        return sorted(self._by_kind.values(), key=lambda trouble: trouble.at, reverse=True)

    def _note(self, kind: str, more: int, now: float, device: str | None, detail: str) -> None:
        before = self._by_kind.get(kind)
        if before is None and len(self._by_kind) >= KINDS:
            return
        count = more if before is None else before.count + more
        todo = WHAT_TO_DO.get(kind) or DROPPED.get(kind, ("", "Look into the log."))[1]
        self._by_kind[kind] = Trouble(kind, count, now, device, detail[:MAX_DETAIL], todo)


WHAT_TO_DO = {
    errors.BadPayloadError.code: "Correct what the device sends; docs/topics.md has the fields.",
    errors.PayloadTooLargeError.code: "Send the audio in chunks, or raise mqtt.max_payload_kib.",
    errors.UnsupportedFormatError.code: (
        "Send a codec, rate and channel count that docs/topics.md names, and declare them."
    ),
    errors.UnsupportedLanguageError.code: (
        "Leave the language out, or configure a model that speaks it."
    ),
    errors.CorruptAudioError.code: (
        "Declare the codec that the device really sends, and check whether chunks are lost."
    ),
    errors.TooShortError.code: (
        "Less than 0.1 s of audio came: check the button or the speech detection of the device."
    ),
    errors.TooLongError.code: (
        "Raise limits.max_utterance_s, or set on_cap: finalize for this device."
    ),
    errors.DisabledError.code: (
        "Nothing, if it is meant to be off. Otherwise switch the device on in Home Assistant, "
        "or by ON on its enabled/set topic."
    ),
    errors.OverloadedError.code: (
        "Give the service more cores or a smaller model; a ladder of models chooses by load."
    ),
    errors.ExpiredError.code: (
        "Speech came too late or waited too long: check the network of the device and the load."
    ),
    errors.TooManyDevicesError.code: "Raise limits.max_devices.",
    errors.ModelUnavailableError.code: (
        "Wait until the model is loaded; look into the log if it is not."
    ),
    errors.InferenceFailedError.code: (
        "This is a defect: please report it with the lines of the log."
    ),
    errors.InferenceTimeoutError.code: (
        "An inference thread hung: check whether the machine swaps or is overloaded."
    ),
    errors.ShuttingDownError.code: "Nothing: the service was being stopped.",
}  # fmt: skip
"""What to do about each error code."""

DROPPED: Mapping[str, tuple[str, str]] = {
    DropReason.BAD_TOPIC: (
        "a message on a topic that no door knows",
        "Compare the topic with docs/topics.md.",
    ),
    DropReason.BAD_NAME: (
        "a message of a device with an illegal name",
        "Rename the device: 1 to 64 of A-Z a-z 0-9 _ . - are taken.",
    ),
    DropReason.BAD_NAMES: (
        "names of the home that cannot be used",
        "Correct what is retained on the topic of the names; the log says what is wrong.",
    ),
    DropReason.BAD_REPLY_TO: (
        "a reply was wanted on a topic of somebody else",
        "Use a topic under stt/<device>/reply/.",
    ),
    DropReason.BAD_SEQUENCE: (
        "a chunk with an illegal sequence number",
        "Number the chunks of an utterance from 0, in 4 bytes, little-endian.",
    ),
    DropReason.NAME_CLASH: (
        "a stop of an utterance that another satellite of the same name had ended",
        "Give each satellite a name of its own; the log has the one that two of them use.",
    ),
    DropReason.BAD_PAYLOAD: (
        "a message that could not be read",
        "Correct what the sender publishes; the log names the topic.",
    ),
    DropReason.BAD_FRAME: (
        "a frame of audio that could not be read",
        "Check the program that sends the audio frames.",
    ),
    DropReason.RETAINED: (
        "a retained message where only live ones count",
        "Publish audio and requests without the retain flag, and clear what is retained.",
    ),
    DropReason.TOO_MANY_DEVICES: (
        "audio of a device for which there is no place",
        "Raise limits.max_devices.",
    ),
    DropReason.PAYLOAD_TOO_LARGE: (
        "a message over the limit",
        "Send the audio in chunks, or raise mqtt.max_payload_kib.",
    ),
    DropReason.TOO_MANY_CONNECTIONS: (
        "a client was refused, because all connections are busy",
        "Close clients that keep connections open for nothing.",
    ),
    DropReason.ANSWER: (
        "an answer was lost to a defect",
        "Please report it with the lines of the log.",
    ),
    "inbox_full": (
        "messages came faster than they could be taken",
        "Find the device that floods the broker, or give the service more cores.",
    ),
    "undecodable_topic": (
        "a message with a text that is not UTF-8",
        "Correct the program that publishes it.",
    ),
    "packet_too_large": (
        "a message far over the limit was dropped while it was read",
        "Send the audio in chunks, or raise mqtt.max_payload_kib.",
    ),
    "publications_lost": (
        "a message could not be sent, because the broker was away for long",
        "Check the connection to the broker.",
    ),
}
"""What was dropped and what to do, by reason; the last four by cause of the transport.

`repeated` is missing: it is no error."""
