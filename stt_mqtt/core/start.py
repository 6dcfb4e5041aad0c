"""The start of an utterance, with the settings of its device filled in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from stt_mqtt.config import DeviceConfig
from stt_mqtt.config.devices import OnCap
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.errors import UnsupportedLanguageError
from stt_mqtt.types import (
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    Endpointing,
    EndReason,
    TurnEnd,
    Utterance,
    UtteranceStart,
    normalise_language,
)


@dataclass(frozen=True, slots=True)
class ResolvedStart:
    """The start of an utterance, with all defaults filled in. Times in seconds.

    `ends_within_s`: longest time that it may stay open, regardless of the configuration.
    """

    id: str
    format: AudioFormat
    language: str | None
    prompt: str | None
    sequenced: bool
    age_s: float
    quiet_timeout_s: float
    turn_end: TurnEnd
    by_chunk: bool = False
    """Whether a chunk opened it, without a start."""
    ends_within_s: float | None = None
    reject_over_cap: bool = False
    languages: tuple[str, ...] = ()
    hotwords: tuple[str, ...] = ()
    phrases: bool = True
    area: str | None = None
    partials: bool = False
    """Whether the text so far is wanted while somebody speaks."""
    context: object = None

    @classmethod
    def of(
        cls,
        start: UtteranceStart,
        id: str,
        config: DeviceConfig,
        settings: DeviceSettings,
        quiet_timeout_s: float,
    ) -> ResolvedStart:
        """Resolve a start: missing values come from the settings of the device."""
        return cls(
            id=id,
            format=start.format or config.format,
            language=start.language or settings.language,
            prompt=start.prompt if start.prompt is not None else settings.prompt,
            sequenced=start.sequenced,
            age_s=start.age_s,
            quiet_timeout_s=quiet_timeout_s,
            turn_end=_turn_end(start, config),
            ends_within_s=start.ends_within_s,
            reject_over_cap=config.on_cap is OnCap.REJECT,
            languages=config.languages,
            hotwords=config.hotwords + start.hotwords,
            phrases=config.phrases,
            area=config.area,
            partials=config.partials,
            context=start.context,
        )

    def utterance(self, key: DeviceKey, end: EndReason | None, ended_at: float) -> Utterance:
        """An utterance with these values and without audio."""
        return Utterance(
            key=key,
            id=self.id,
            audio=EncodedAudio(None, b""),
            language=self.language,
            prompt=self.prompt,
            end=end,
            ended_at=ended_at,
            age_s=self.age_s,
            reject_over_cap=self.reject_over_cap,
            languages=self.languages,
            hotwords=self.hotwords,
            phrases=self.phrases,
            area=self.area,
            context=self.context,
        )


def _turn_end(start: UtteranceStart, config: DeviceConfig) -> TurnEnd:
    """How an utterance ends. Old speech arrives at once, so what follows a pause has been said."""
    if start.age_s > 0:
        return TurnEnd(Endpointing.SILENCE)
    return start.turn_end or TurnEnd(config.endpointing)


def language_error(
    language: str | None, spoken: Collection[str]
) -> UnsupportedLanguageError | None:
    """Why a language is refused. None: a model speaks it, or none is asked for."""
    if language is None or normalise_language(language) in spoken:
        return None
    return UnsupportedLanguageError(
        f"no model of this service speaks {language!r}; leave the language out "
        "or configure a multilingual model"
    )
