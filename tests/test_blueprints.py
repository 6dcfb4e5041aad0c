"""The blueprints: what Home Assistant asks of their form, and what their templates do."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stt_mqtt.doors.native.payloads import result
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind, Transcript

FOLDER = Path(__file__).parents[1] / "addon" / "blueprints" / "automation" / "stt_mqtt"
COMMAND, ANSWER = "voice_command.yaml", "voice_command_with_answer.yaml"
BLUEPRINTS = [COMMAND, ANSWER]

TOP = {"blueprint", "mode", "max", "triggers", "variables", "conditions", "actions"}
SELECTORS = {"conversation_agent", "entity", "language", "number", "object", "text"}
STEPS = {"action", "condition", "variables"}
STEP_KEYS = {
    "action": {"alias", "action", "target", "data", "response_variable"},
    "condition": {"alias", "condition", "value_template"},
    "variables": {"alias", "variables"},
}
NOW = 1_795_300_010.0


class Input(str):
    """The name behind `!input`."""


class Loader(yaml.SafeLoader):
    """YAML with Home Assistant's tag."""


def _input(loader: Loader, node: yaml.ScalarNode) -> Input:
    return Input(loader.construct_scalar(node))


Loader.add_constructor("!input", _input)


def load(name: str) -> dict[str, Any]:
    """A blueprint as Home Assistant reads it."""
    blueprint = yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader=Loader)
    assert isinstance(blueprint, dict)
    return blueprint


def inputs_of(blueprint: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All inputs, those in sections too."""
    found: dict[str, dict[str, Any]] = {}
    for name, item in blueprint["blueprint"]["input"].items():
        for inner, value in item.get("input", {name: item}).items():
            assert inner not in found, inner
            found[inner] = value
    return found


def leaves(value: object) -> Iterator[object]:
    """Everything in a structure that is no structure."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_these_are_all_blueprints() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(BLUEPRINTS)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_every_input_is_declared_and_used(name: str) -> None:
    blueprint = load(name)
    used = {leaf for leaf in leaves(blueprint) if isinstance(leaf, Input)}
    assert used == set(inputs_of(blueprint))


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_every_input_says_what_it_is(name: str) -> None:
    for key, item in inputs_of(load(name)).items():
        assert set(item) <= {"name", "description", "default", "selector"}, key
        assert item["name"], key
        (selector,) = item["selector"]
        assert selector in SELECTORS, key


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_syntax_is_the_current_one(name: str) -> None:
    blueprint = load(name)
    assert set(blueprint) == TOP
    assert blueprint["blueprint"]["domain"] == "automation"
    assert "source_url" not in blueprint["blueprint"]
    assert all("trigger" in item and "platform" not in item for item in blueprint["triggers"])
    for step in [*blueprint["conditions"], *blueprint["actions"]]:
        (kind,) = STEPS & set(step)
        assert set(step) <= STEP_KEYS[kind]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_templates_parse(name: str) -> None:
    templates = [leaf for leaf in leaves(load(name)) if isinstance(leaf, str) and "{{" in leaf]
    assert templates
    for template in templates:
        ENVIRONMENT.parse(template)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_combine_filter_is_there_in_the_oldest_version(name: str) -> None:
    assert load(name)["blueprint"]["homeassistant"]["min_version"] == "2025.4.0"


def test_an_event_that_is_restored_or_that_goes_away_is_no_command() -> None:
    (trigger,) = load(COMMAND)["triggers"]
    assert trigger["trigger"] == "state"
    assert trigger["not_from"] == trigger["not_to"] == ["unavailable", "unknown"]


# What they do, with the little of Home Assistant that they use ------------------------------

AREAS = {"kitchen": "Kitchen", "living_room": "Living Room"}


def _match(value: str, find: str, ignorecase: bool = False) -> bool:
    return re.match(find, value, re.IGNORECASE if ignorecase else 0) is not None


ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
ENVIRONMENT.globals["areas"] = lambda: list(AREAS)
ENVIRONMENT.globals["area_name"] = lambda id: AREAS.get(id.removeprefix("event.").split("_u")[0])
ENVIRONMENT.globals["now"] = lambda: datetime.fromtimestamp(NOW, UTC)
ENVIRONMENT.filters["area_name"] = AREAS.get
ENVIRONMENT.filters["combine"] = lambda first, second: first | second
ENVIRONMENT.filters["regex_replace"] = lambda value, find, by: re.sub(find, by, value)
ENVIRONMENT.tests["match"] = _match


class Home:
    """Runs a blueprint and keeps the actions that it called."""

    def __init__(self, name: str, **inputs: object) -> None:
        self._blueprint = load(name)
        defaults = {
            key: item["default"]
            for key, item in inputs_of(self._blueprint).items()
            if "default" in item
        }
        self._inputs = defaults | {"satellites": [], "tts": "tts.piper"} | inputs
        self.speech: object = {"plain": {"speech": "Done.", "extra_data": None}}
        self.called: list[tuple[str, Any]] = []

    def hears(self, text: str, kind: OutcomeKind = OutcomeKind.TRANSCRIPT, age_s: float = 1) -> Any:
        """A satellite's event comes in; returns what the first action was given, if any."""
        transcript = Transcript(text, "en", 0.9, 0.01)
        outcome = Outcome(DeviceKey("native", "kitchen"), "a", NOW - age_s, kind, transcript)
        attributes = result(outcome) | {"event_type": kind.value}
        self.called.clear()
        self.run(SimpleNamespace(attributes=attributes))
        return self.called[0][1] if self.called else None

    def run(self, to_state: object) -> None:
        """The trigger fires."""
        variables = self._with_inputs(self._blueprint["variables"])
        variables["trigger"] = SimpleNamespace(
            entity_id="event.kitchen_utterance", to_state=to_state
        )
        for step in [*self._blueprint["conditions"], *self._blueprint["actions"]]:
            if "condition" in step:
                if self._render(step["value_template"], variables) is not True:
                    return
            elif "variables" in step:
                for key, template in step["variables"].items():
                    variables[key] = self._render(template, variables)
            else:
                self.called.append((step["action"], self._render(step["data"], variables)))
                if "response_variable" in step:
                    answer = {"response": {"speech": self.speech}, "conversation_id": "x"}
                    variables[step["response_variable"]] = answer

    def _with_inputs(self, value: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self._inputs[item] if isinstance(item, Input) else item
            for key, item in value.items()
        }

    def _render(self, template: str, variables: dict[str, Any]) -> Any:
        """What a template makes, as a value of Python where it looks like one."""
        text = ENVIRONMENT.from_string(template).render(variables).strip()
        try:
            return literal_eval(text)
        except (ValueError, SyntaxError):
            return text


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_transcript_is_processed_as_it_was_heard(name: str) -> None:
    home = Home(name)
    asked = {"text": "Turn on the light.", "agent_id": "conversation.home_assistant"}
    assert home.hears("Turn on the light.") == asked
    assert home.called[0][0] == "conversation.process"


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("text", ["12", "True", "[1, 2]", 'Say "hello", it\'s me', "{{ 1 }}"])
def test_words_stay_text_whatever_they_look_like(name: str, text: str) -> None:
    assert Home(name).hears(text)["text"] == text


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_agent_and_language_are_passed_on(name: str) -> None:
    asked = Home(name, agent="conversation.other", language="no").hears("Slå på lyset")
    assert asked == {"text": "Slå på lyset", "agent_id": "conversation.other", "language": "no"}


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind != OutcomeKind.TRANSCRIPT])
def test_nothing_comes_of_an_outcome_without_words(name: str, kind: OutcomeKind) -> None:
    assert Home(name).hears("", kind) is None


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_nothing_comes_of_an_entity_that_is_removed(name: str) -> None:
    home = Home(name)
    home.run(None)
    assert home.called == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    ("age_s", "obeyed"), [(14.9, True), (15.1, False), (-14.9, True), (-15.1, False)]
)
def test_a_stale_command_is_not_obeyed(name: str, age_s: float, obeyed: bool) -> None:
    assert (Home(name).hears("Open the door.", age_s=age_s) is not None) is obeyed
    assert Home(name, max_age=60).hears("Open the door.", age_s=age_s) is not None


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Turn on the light.", "Turn on the light in the Kitchen"),
        ("turn off the light", "turn off the light in the Kitchen"),
        ("Turn on the living room light.", "Turn on the living room light."),
        ("What time is it?", "What time is it?"),
        ("Opening hours?", "Opening hours?"),
    ],
)
def test_the_room_is_put_where_it_belongs(name: str, text: str, asked: str) -> None:
    assert Home(name, room_words="in the {area}").hears(text)["text"] == asked
    assert Home(name).hears(text)["text"] == text


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_without_an_area_there_is_no_room_to_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(AREAS, "kitchen")
    asked = Home(name, room_words="in the {area}").hears("Turn on the light.")
    assert asked["text"] == "Turn on the light."


def test_the_answer_is_spoken_in_the_room() -> None:
    home = Home(ANSWER, players={"kitchen": "media_player.radio"}, player="media_player.hall")
    home.hears("What time is it?")
    assert home.called[1:] == [
        ("tts.speak", {"media_player_entity_id": "media_player.radio", "message": "Done."})
    ]


def test_other_rooms_have_the_common_media_player() -> None:
    home = Home(ANSWER, players={"attic": "media_player.radio"}, player="media_player.hall")
    home.hears("What time is it?")
    assert home.called[1][1]["media_player_entity_id"] == "media_player.hall"


def test_without_a_media_player_the_command_is_obeyed_in_silence() -> None:
    home = Home(ANSWER)
    home.hears("Turn on the light.")
    assert [action for action, _ in home.called] == ["conversation.process"]


@pytest.mark.parametrize("speech", [{}, {"plain": {"speech": ""}}, {"plain": {"speech": None}}])
def test_an_empty_answer_is_not_spoken(speech: object) -> None:
    home = Home(ANSWER, player="media_player.hall")
    home.speech = speech
    home.hears("Turn on the light.")
    assert [action for action, _ in home.called] == ["conversation.process"]
