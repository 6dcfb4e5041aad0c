"""Checks at the start whether the models speak the configured languages."""

from __future__ import annotations

from stt_mqtt.config import Config, DeviceConfig, is_glob
from stt_mqtt.errors import ConfigError
from stt_mqtt.types import normalise_language

FEW = 5
"""Up to so many languages are listed in a message."""


def check_languages(config: Config, supported: frozenset[str]) -> list[str]:
    """Warnings about devices whose language no model speaks. `supported`: languages of all rungs.

    Raises `ConfigError` where that is so for every device which has no entry of its own: such a
    service would refuse whatever it hears.
    """
    if not supported:
        return []
    place, settings = _of_everybody(config)
    refused = _refusal(settings, supported)
    if refused is not None:
        raise ConfigError([f"{place}.{refused}: {_remedy(config, supported)}"])
    doubts = [(place, settings), *_of_entries(config)]
    sentences = []
    for place, settings in doubts:
        refused = _refusal(settings, supported)
        if refused is not None:
            sentences.append(f"{place}.{refused}: {_remedy(config, supported)}")
        elif settings.language is None and (silent := _unsupported(settings.languages, supported)):
            sentences.append(
                f"{place}.languages: {', '.join(silent)} will never be detected, for "
                f"{_speakers(config)} does not speak it"
            )
    return sentences


def _of_everybody(config: Config) -> tuple[str, DeviceConfig]:
    """The settings of a device without an entry of its own, and the key that they come from."""
    place = "device_defaults"
    for name, entry in config.devices.items():
        if is_glob(name) and not name.strip("*") and _names_languages(entry):
            place = f"devices.{name}"
    return place, config.device("")


def _of_entries(config: Config) -> list[tuple[str, DeviceConfig]]:
    """The entries that name languages, each with the settings of its devices."""
    found = []
    for name, entry in config.devices.items():
        if name.strip("*") and _names_languages(entry):
            said = {key: getattr(entry, key) for key in entry.model_fields_set}
            merged = config.device_defaults.model_copy(update=said)
            found.append((f"devices.{name}", merged if is_glob(name) else config.device(name)))
    return found


def _names_languages(entry: DeviceConfig) -> bool:
    return bool({"language", "languages"} & entry.model_fields_set)


def _refusal(settings: DeviceConfig, supported: frozenset[str]) -> str | None:
    """The key and value because of which every utterance is refused; None: there is none."""
    if settings.language is not None:
        unspoken = _unsupported((settings.language,), supported)
        return f"language: {settings.language}" if unspoken else None
    unspoken = _unsupported(settings.languages, supported)
    if settings.languages and len(unspoken) == len(settings.languages):
        return f"languages: {', '.join(settings.languages)}"
    return None


def _unsupported(tags: tuple[str, ...], supported: frozenset[str]) -> list[str]:
    return [tag for tag in tags if normalise_language(tag) not in supported]


def _remedy(config: Config, supported: frozenset[str]) -> str:
    only = f" (only {', '.join(sorted(supported))})" if len(supported) <= FEW else ""
    return (
        f"{_speakers(config)} does not speak that{only}, so it would refuse every utterance; "
        "choose another language, or a model of many languages such as base"
    )


def _speakers(config: Config) -> str:
    models = {rung.model for rung in config.rungs}
    return f"model {models.pop()}" if len(models) == 1 else "one rung of the ladder at least"
