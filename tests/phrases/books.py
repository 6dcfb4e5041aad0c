"""Phrase books for the tests."""

from __future__ import annotations

import yaml
from hassil.intents import Intents

from stt_mqtt.phrases.book import CompiledBook, PhraseBook
from stt_mqtt.phrases.names import NO_NAMES, HomeNames

HOME = """
language: en
intents:
  TurnOn:
    data:
      - sentences: ["(turn|switch) on [the] {name}"]
        requires_context: {domain: [light, switch]}
  TurnOnHere:
    data:
      - sentences: ["[turn] lights on"]
        requires_context: {area: {slot: true}}
  Kettle:
    data:
      - sentences: ["boil [the] kettle"]
        requires_context: {area: Kitchen}
  Timer:
    data:
      - sentences: ["set [a] timer for {minutes} minute[s]"]
  Remind:
    data:
      - sentences: ["remind me to {text}"]
  Order:
    data:
      - sentences: ["order [a] ({size};{temperature}) {drink}"]
        slots: {shop: cafe}
  Stop:
    data:
      - sentences: [stop]
lists:
  minutes: {range: {from: 1, to: 60}}
  text: {wildcard: true}
  size: {values: [small, large]}
  temperature: {values: [hot, {in: (iced|cold), out: cold}]}
  drink: {values: [coffee, tea, cocoa]}
skip_words: [please]
"""


def book(text: str = HOME, names: HomeNames = NO_NAMES) -> PhraseBook:
    read = yaml.safe_load(text)
    return PhraseBook({read["language"]: Intents.from_dict(read)}, names)


def compiled(
    text: str = HOME, names: HomeNames = NO_NAMES, area: str | None = None
) -> CompiledBook:
    read = yaml.safe_load(text)
    found = book(text, names).compiled(read["language"], area)
    assert found is not None
    return found


def sentences(*templates: str, rules: str = "{}", lists: str = "{}") -> CompiledBook:
    """A book with one intent of these templates."""
    listed = ", ".join(f'"{template}"' for template in templates)
    return compiled(
        f"language: en\nintents: {{Said: {{data: [{{sentences: [{listed}]}}]}}}}\n"
        f"expansion_rules: {rules}\nlists: {lists}\n"
    )
