"""The blueprints: what Home Assistant asks of their form, and what they do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stt_mqtt.doors.native.messages import result_fields
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind, Transcript
from tests.automations import OWN_AGENT, STEPS, Home, kind_of
from tests.home_assistant import FOLDER, Input, environment, inputs_of, load

COMMAND, ANSWER = "voice_command.yaml", "voice_command_with_answer.yaml"
BLUEPRINTS = [COMMAND, ANSWER]
KITCHEN, HALL = "kitchen", "hall"
RADIO, HALL_PLAYER = "media_player.radio", "media_player.hall"

TOP = {"blueprint", "mode", "max", "triggers", "variables", "conditions", "actions"}
SELECTORS = {"conversation_agent", "entity", "language", "number", "object", "text"}
ABSENT = object()
SPOKEN: dict[str, Any] = {"tts": "tts.piper", "player": RADIO}


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


def steps_in(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All steps, those inside others too."""
    for step in steps:
        yield step
        inner = [step.get("then", []), step.get("sequence", []), step.get("parallel", [])]
        inner += [option["sequence"] for option in step.get("choose", [])]
        inner += [step["repeat"]["sequence"]] if "repeat" in step else []
        for sequence in inner:
            yield from steps_in(sequence)


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
def test_only_the_satellites_have_to_be_chosen(name: str) -> None:
    needed = [key for key, item in inputs_of(load(name)).items() if "default" not in item]
    assert needed == ["satellites"]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_syntax_is_the_current_one(name: str) -> None:
    blueprint = load(name)
    assert set(blueprint) == TOP
    assert blueprint["blueprint"]["domain"] == "automation"
    assert "source_url" not in blueprint["blueprint"]
    assert all("trigger" in item and "platform" not in item for item in blueprint["triggers"])
    for condition in blueprint["conditions"]:
        assert set(condition) == {"alias", "condition", "value_template"}
    for step in steps_in(blueprint["actions"]):
        kind = kind_of(step)
        assert set(step) <= {"alias", kind} | STEPS[kind], step


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_templates_parse(name: str) -> None:
    templates = [leaf for leaf in leaves(load(name)) if isinstance(leaf, str) and "{{" in leaf]
    assert templates
    for template in templates:
        environment().parse(template)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_combine_filter_is_there_in_the_oldest_version(name: str) -> None:
    assert load(name)["blueprint"]["homeassistant"]["min_version"] == "2025.4.0"


def test_both_blueprints_obey_in_the_same_way() -> None:
    one, other = load(COMMAND), load(ANSWER)
    for part in ("mode", "max", "triggers", "conditions"):
        assert one[part] == other[part]
    assert inputs_of(one).items() <= inputs_of(other).items()
    assert one["actions"][:2] == other["actions"][1:3]


# What they do ---------------------------------------------------------------------------------


def home(name: str, **inputs: Any) -> Home:
    """A home with lights, where satellites have been heard before."""
    it = Home(name, inputs)
    for player in (RADIO, HALL_PLAYER):
        it.set_state(player, "idle")
    for entity in (OWN_AGENT, "tts.piper"):
        it.set_state(entity, "unknown")
    for satellite in (KITCHEN, HALL):
        it.set_state(f"event.{satellite}_utterance", "earlier", event_type="transcript", id="0")
    it.now += 100
    return it


def attributes(it: Home, text: str, satellite: str = KITCHEN, **keys: Any) -> dict[str, Any]:
    """A result, as the event entity shows it; keys that are ABSENT are those of a later service."""
    kind = keys.pop("kind", OutcomeKind.TRANSCRIPT)
    ts = it.now - keys.pop("old_s", 1.0)
    transcript = Transcript(text, "en", 0.9, 0.01)
    outcome = Outcome(DeviceKey("native", satellite), "a", ts, kind, transcript)
    told = {"event_type": kind.value, "end": "stop", "audio_s": 1.5, "latency_s": 0.2}
    every = result_fields(outcome) | told | {"id": f"{satellite}-{it.now}"} | keys
    return {key: value for key, value in every.items() if value is not ABSENT}


def hears(it: Home, text: str, satellite: str = KITCHEN, **keys: Any) -> list[Any]:
    """A satellite hears something; returns what the agent is asked for it, at once or soon."""
    asked = len(it.data_of("conversation.process"))
    now = datetime.fromtimestamp(it.now, UTC).isoformat()
    it.event(f"event.{satellite}_utterance", now, **attributes(it, text, satellite, **keys))
    it.advance(0.5)
    return [data["text"] for data in it.data_of("conversation.process")[asked:]]


def asked_of(it: Home, text: str) -> Any:
    """With what the agent is asked at last."""
    hears(it, text)
    return it.data_of("conversation.process")[-1]


def refused(code: str, speech: str = "Sorry.") -> dict[str, Any]:
    """An agent's answer to what it does not do."""
    plain = {"plain": {"speech": speech, "extra_data": None}}
    return {"speech": plain, "response_type": "error", "data": {"code": code}}


def obeyed(speech: str) -> dict[str, Any]:
    """An agent's answer to what it did."""
    plain = {"plain": {"speech": speech, "extra_data": None}}
    return {"speech": plain, "response_type": "action_done", "data": {"success": []}}


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_transcript_is_processed_as_it_was_heard(name: str) -> None:
    it = home(name)
    assert asked_of(it, "Turn on the light.") == {
        "text": "Turn on the light.",
        "agent_id": OWN_AGENT,
    }
    assert it.called[0][0] == "conversation.process"
    assert it.errors == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("text", ["12", "True", "[1, 2]", 'Say "hello", it\'s me', "{{ 1 }}"])
def test_words_stay_text_whatever_they_look_like(name: str, text: str) -> None:
    assert hears(home(name), text) == [text]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_agent_and_language_are_passed_on(name: str) -> None:
    it = home(name, agent="conversation.other", language="no")
    it.set_state("conversation.other", "unknown")
    it.agents.add("conversation.other")
    asked = {"text": "Slå på lyset", "agent_id": "conversation.other", "language": "no"}
    assert asked_of(it, "Slå på lyset") == asked


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("kind", [kind for kind in OutcomeKind if kind != OutcomeKind.TRANSCRIPT])
def test_nothing_comes_of_an_outcome_without_words(name: str, kind: OutcomeKind) -> None:
    assert hears(home(name), "", kind=kind) == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    ("old_s", "fresh"), [(14.9, True), (15.1, False), (-14.9, True), (-15.1, False)]
)
def test_a_stale_command_is_not_obeyed(name: str, old_s: float, fresh: bool) -> None:
    assert (hears(home(name), "Open the door.", old_s=old_s) != []) is fresh
    assert hears(home(name, max_age=60), "Open the door.", old_s=old_s) != []


# Once, whole, and from the first words on -----------------------------------------------------


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("before", ["unknown", None])
def test_the_first_command_of_a_satellite_is_obeyed(name: str, before: str | None) -> None:
    it = home(name)
    it.event("event.kitchen_utterance", before)
    assert hears(it, "Turn on the light.") == ["Turn on the light."]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("gap", ["unavailable", "unknown"])
def test_an_event_that_is_restored_is_no_command(name: str, gap: str) -> None:
    it = home(name, max_age=300)
    hears(it, "Turn on the light.")
    last = it.states["event.kitchen_utterance"]
    it.called.clear()
    it.event("event.kitchen_utterance", None)
    it.event("event.kitchen_utterance", gap, **(last.attributes if gap == "unknown" else {}))
    it.event("event.kitchen_utterance", last.state if gap == "unavailable" else gap)
    it.advance(1)
    assert it.called == []


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_nothing_comes_of_an_entity_that_is_removed_or_goes_away(name: str) -> None:
    it = home(name)
    it.event("event.kitchen_utterance", "unavailable")
    it.event("event.kitchen_utterance", "earlier", event_type="transcript", id="0", ts=it.now)
    it.event("event.kitchen_utterance", None)
    assert it.called == []
    assert it.errors == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    "keys",
    [
        {"incomplete": True},
        {"repeated": True},
        {"end": "disconnect", "incomplete": ABSENT},
        {"end": "restart", "incomplete": ABSENT},
    ],
)
def test_a_part_of_an_utterance_and_a_repeated_result_are_not_obeyed(
    name: str, keys: dict[str, Any]
) -> None:
    assert hears(home(name), "Turn on", **keys) == []


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_same_utterance_is_obeyed_once(name: str) -> None:
    it = home(name)
    assert hears(it, "Turn on the light.", id="7") != []
    assert hears(it, "Turn on the light.", id="7") == []
    assert hears(it, "Turn on the light.", id="8") != []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    "broken", [{"incomplete": True}, {"end": "disconnect", "incomplete": ABSENT}]
)
def test_a_broken_utterance_that_is_sent_again_whole_is_obeyed_once(
    name: str, broken: dict[str, Any]
) -> None:
    it = home(name)
    assert hears(it, "Turn on", id="7", **broken) == []
    assert hears(it, "Turn on the light.", id="7") == ["Turn on the light."]
    assert hears(it, "Turn on the light.", id="7") == []


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_results_of_services_before_these_keys_are_obeyed(name: str) -> None:
    it = home(name)
    later: dict[str, Any] = dict.fromkeys(("age_s", "incomplete", "repeated"), ABSENT)
    hears(it, "Turn on the light.", **later)
    it.advance(60)
    assert len(it.data_of("conversation.process")) == 1
    assert it.errors == []


# Rooms ----------------------------------------------------------------------------------------

ROOM = {"room_words": "in the {area}"}


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
    assert hears(home(name, **ROOM), text) == [asked]
    assert hears(home(name), text) == [text]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize(
    "text", ["Turn off all the lights.", "Turn everything off", "Close every blind."]
)
def test_a_sentence_about_all_rooms_does_not_become_one_about_this(name: str, text: str) -> None:
    assert hears(home(name, **ROOM), text) == [text]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("code", ["no_intent_match", "no_valid_targets"])
def test_a_device_that_is_not_in_the_room_is_looked_for_without_it(name: str, code: str) -> None:
    it = home(name, **ROOM)
    it.answer = lambda asked: (
        refused(code) if asked["text"].endswith("Kitchen") else obeyed("Turned on the light")
    )
    assert hears(it, "Turn on the standing light.") == [
        "Turn on the standing light in the Kitchen",
        "Turn on the standing light.",
    ]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("code", ["failed_to_handle", "unknown", "timeout"])
def test_what_may_be_done_in_part_is_not_tried_again(name: str, code: str) -> None:
    it = home(name, **ROOM)
    it.answer = lambda _asked: refused(code)
    assert hears(it, "Turn on the light.") == ["Turn on the light in the Kitchen"]


@pytest.mark.parametrize(
    ("second", "spoken"),
    [
        (obeyed("Turned on the light"), "Turned on the light"),
        (refused("no_intent_match", "What?"), "There is none in the Kitchen"),
    ],
)
def test_the_answer_about_the_room_is_spoken_unless_the_second_attempt_succeeds(
    second: dict[str, Any], spoken: str
) -> None:
    it = home(ANSWER, **SPOKEN, **ROOM)
    first = refused("no_valid_targets", "There is none in the Kitchen")
    it.answer = lambda asked: first if asked["text"].endswith("Kitchen") else second
    hears(it, "Turn on the light.")
    (said,) = it.data_of("tts.speak")
    assert said["message"] == spoken


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_without_an_area_there_is_no_room_to_name(name: str) -> None:
    it = home(name, **ROOM)
    del it.areas["kitchen"]
    assert hears(it, "Turn on the light.") == ["Turn on the light."]


# Each input empty, of the wrong kind, and outdated --------------------------------------------

NONSENSE: list[Any] = ["", None, 5, [], {}, ["a"], "no such thing", "light.gone"]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("key", ["agent", "language", "max_age", "room_words"])
def test_the_deed_is_done_whatever_stands_in_an_input(name: str, key: str, value: Any) -> None:
    if key == "max_age" and value == 5:
        value = "five"
    it = home(name, **(SPOKEN if name == ANSWER else {}), **{key: value})
    assert asked_of(it, "What time is it?") == {
        "text": "What time is it?",
        "agent_id": OWN_AGENT,
    }
    it.advance(60)
    assert it.errors == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("value", [*NONSENSE, "^(turn"])
def test_the_deed_is_done_whatever_stands_in_the_pattern(name: str, value: Any) -> None:
    it = home(name, **ROOM, room_pattern=value)
    assert hears(it, "Turn on the light.") == ["Turn on the light."]
    assert it.errors == []


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("gone", ["missing", "unavailable"])
def test_home_assistants_own_agent_does_what_an_agent_that_is_gone_cannot(
    name: str, gone: str
) -> None:
    it = home(name, agent="conversation.cloud")
    if gone == "unavailable":
        it.set_state("conversation.cloud", "unavailable")
    assert asked_of(it, "Turn on the light.")["agent_id"] == OWN_AGENT


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_an_agent_that_is_no_entity_is_asked(name: str) -> None:
    it = home(name, agent="01JABCDEF")
    it.entries.add("01JABCDEF")
    it.agents.add("01JABCDEF")
    assert asked_of(it, "Turn on the light.")["agent_id"] == "01JABCDEF"


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_language_that_the_agent_does_not_know_is_left_out(name: str) -> None:
    it = home(name, language="tlh")
    it.answer = lambda asked: (
        refused("no_intent_match") if "language" in asked else obeyed("Turned on the light")
    )
    assert asked_of(it, "Turn on the light.") == {
        "text": "Turn on the light.",
        "agent_id": OWN_AGENT,
    }


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("key", ["tts", "player", "players", "base_topic"])
def test_the_answer_is_given_where_it_can_be_and_the_trace_says_why_not(
    key: str, value: Any
) -> None:
    it = home(ANSWER, **SPOKEN | {key: value})
    assert hears(it, "Turn on the light.") == ["Turn on the light."]
    it.advance(60)
    spoken = len(it.data_of("tts.speak")) == 1
    assert spoken is (key in ("players", "base_topic"))
    assert spoken is not bool(it.stops)
    assert it.errors == []
    assert it.running == 0


@pytest.mark.parametrize(
    ("inputs", "states", "reason"),
    [
        ({"player": ""}, {}, "No media player is named"),
        ({"player": "media_player.gone"}, {}, "media player of this satellite is not there"),
        ({}, {RADIO: "unavailable"}, "media player of this satellite is not there"),
        ({"tts": "tts.gone"}, {}, "voice is not there"),
        ({}, {"tts.piper": "unavailable"}, "voice is not there"),
    ],
)
def test_the_trace_says_what_is_missing(
    inputs: dict[str, Any], states: dict[str, str], reason: str
) -> None:
    it = home(ANSWER, **SPOKEN | inputs)
    for entity, state in states.items():
        it.set_state(entity, state)
    hears(it, "Turn on the light.")
    (stop,) = it.stops
    assert reason in stop
    assert it.data_of("tts.speak") == []
    assert it.data_of("mqtt.publish") == []


@pytest.mark.parametrize(
    ("players", "spoken_by"),
    [
        ({"kitchen": HALL_PLAYER}, [HALL_PLAYER]),
        ({"kitchen": [HALL_PLAYER, RADIO]}, [HALL_PLAYER, RADIO]),
        ({"attic": HALL_PLAYER}, [RADIO]),
        ("kitchen: media_player.hall", [HALL_PLAYER]),
        ("attic: media_player.gone\nkitchen: 'media_player.hall'", [HALL_PLAYER]),
        ([{"kitchen": HALL_PLAYER}], [HALL_PLAYER]),
        ("media_player.hall", [RADIO]),
    ],
)
def test_the_media_player_of_the_satellite_speaks(players: Any, spoken_by: list[str]) -> None:
    it = home(ANSWER, **SPOKEN, players=players)
    hears(it, "What time is it?")
    assert it.data_of("tts.speak") == [
        {"entity_id": "tts.piper", "media_player_entity_id": spoken_by, "message": "Done."}
    ]


@pytest.mark.parametrize(
    "speech",
    [{}, {"plain": None}, {"plain": {}}, {"plain": {"speech": ""}}, {"plain": {"speech": None}}],
)
def test_an_empty_answer_is_not_spoken(speech: object) -> None:
    it = home(ANSWER, **SPOKEN)
    it.answer = lambda _asked: obeyed("") | {"speech": speech}
    hears(it, "Turn on the light.")
    assert [action for action, _ in it.called] == ["conversation.process"]
    assert it.stops == ["The agent gave no answer."]


# Speaking, and not listening to it ------------------------------------------------------------


def loudspeaker(it: Home, begins_s: float = 0.7, lasts_s: float = 2.0) -> None:
    """The radio shows when it plays."""

    def speak(_said: object) -> None:
        it.later(begins_s, lambda: it.set_state(RADIO, "playing"))
        it.later(begins_s + lasts_s, lambda: it.set_state(RADIO, "idle"))

    it.speak = speak


def playing(it: Home, satellite: str = KITCHEN, base: str = "stt") -> list[bool]:
    """What a satellite was told, without what it was told twice."""
    topic = f"{base}/{satellite}/satellite/set"
    sent = [data["payload"] for data in it.data_of("mqtt.publish") if data["topic"] == topic]
    told = [payload == '{"playing":true}' for payload in sent]
    return [now for now, before in zip(told, [None, *told], strict=False) if now is not before]


def test_the_satellite_is_deaf_from_before_the_answer_until_it_is_over() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    hears(it, "Turn on the light.")
    actions = [action for action, _ in it.called]
    assert actions[:3] == ["conversation.process", "mqtt.publish", "tts.speak"]
    it.advance(2.1)
    assert playing(it) == [True]
    it.advance(0.7)
    assert playing(it) == [True, False]


@pytest.mark.parametrize("state", ["idle", "playing"])
def test_where_the_media_player_does_not_tell_the_length_of_the_answer_does(state: str) -> None:
    it = home(ANSWER, **SPOKEN)
    it.set_state(RADIO, state)
    it.answer = lambda _asked: obeyed("a" * 60)
    hears(it, "Turn on the light.")
    it.advance(7)
    assert playing(it) == [True]
    it.advance(2)
    assert playing(it) == [True, False]


def test_a_media_player_that_never_ends_lets_the_satellite_hear_again() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it, lasts_s=10_000)
    it.answer = lambda _asked: obeyed("a" * 5000)
    hears(it, "Turn on the light.")
    it.advance(290)
    assert playing(it) == [True]
    it.advance(40)
    assert playing(it) == [True, False]
    assert it.running == 0


def test_a_long_answer_is_told_again_before_the_satellite_hears() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it, lasts_s=100)
    it.answer = lambda _asked: obeyed("a" * 1200)
    hears(it, "Turn on the light.")
    told: list[float] = []
    for _ in range(110):
        before = len(it.data_of("mqtt.publish"))
        it.advance(1)
        told += [it.now] * (len(it.data_of("mqtt.publish")) - before)
    assert max(b - a for a, b in itertools.pairwise(told)) < 45
    assert playing(it) == [True, False]


def test_the_satellite_hears_again_when_the_speaking_fails() -> None:
    def fails(_said: object) -> None:
        raise OSError("The loudspeaker is broken")

    it = home(ANSWER, **SPOKEN)
    it.speak = fails
    hears(it, "Turn on the light.")
    it.advance(5)
    assert playing(it) == [True, False]
    it.advance(60)
    assert [str(error) for error in it.errors] == ["The loudspeaker is broken"]


def test_satellites_with_the_same_media_player_are_deaf_together() -> None:
    it = home(
        ANSWER, tts="tts.piper", players={"kitchen": RADIO, "bar": RADIO, "hall": HALL_PLAYER}
    )
    loudspeaker(it)
    hears(it, "Turn on the light.")
    it.advance(10)
    assert playing(it) == playing(it, "bar") == [True, False]
    assert playing(it, "hall") == []


@pytest.mark.parametrize(
    ("base_topic", "base"), [("home/voice", "home/voice"), ("stt/", "stt"), ("a/#", "stt")]
)
def test_the_base_topic_is_that_of_the_service(base_topic: str, base: str) -> None:
    it = home(ANSWER, **SPOKEN, base_topic=base_topic)
    hears(it, "Turn on the light.")
    assert playing(it, base=base) == [True]


@pytest.mark.parametrize("satellite", [KITCHEN, HALL])
@pytest.mark.parametrize(
    "heard", ["Turned on the kitchen light.", "Turn on the kitchen light", "turned on the kitchen"]
)
def test_an_answer_that_a_satellite_hears_is_not_answered(satellite: str, heard: str) -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    it.answer = lambda _asked: obeyed("Turned on the kitchen light")
    hears(it, "Turn on the kitchen light.")
    it.advance(3.0)
    assert hears(it, heard, satellite, audio_s=2.2, latency_s=0.3) == []
    assert it.stops == ["This is the answer that was just spoken. The satellite heard it."]
    assert len(it.data_of("tts.speak")) == 1


def test_a_part_of_a_long_answer_is_recognised_while_it_is_still_spoken() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it, lasts_s=8)
    it.answer = lambda _asked: obeyed("The oven is on. The front door is open. It is raining.")
    hears(it, "What is going on?")
    it.advance(4)
    assert hears(it, "The oven is on.", audio_s=1.5) == []


def test_other_words_are_obeyed_while_the_answer_is_spoken() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    it.answer = lambda _asked: obeyed("Turned on the kitchen light")
    hears(it, "Turn on the kitchen light.")
    it.advance(1.5)
    assert hears(it, "Close the garage door.", audio_s=1.0) == ["Close the garage door."]


def test_a_command_after_the_answer_is_obeyed_though_it_has_the_same_words() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    it.answer = lambda _asked: obeyed("The kitchen light, or the standing light?")
    hears(it, "Turn on the light.")
    it.advance(5)
    assert hears(it, "The kitchen light", audio_s=1.2) == ["The kitchen light"]


def test_a_command_from_before_the_answer_is_obeyed() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    it.answer = lambda _asked: obeyed("Turned on the kitchen light")
    hears(it, "Turn on the kitchen light.")
    again = hears(it, "Turned on the kitchen light", HALL, audio_s=1.2, latency_s=2.5, age_s=1)
    assert again == ["Turned on the kitchen light"]


def test_a_command_does_not_wait_where_nothing_was_spoken() -> None:
    it = home(ANSWER, **SPOKEN)
    it.event("event.kitchen_utterance", "now", **attributes(it, "Turn on the light."))
    assert len(it.data_of("conversation.process")) == 1


def test_the_runs_end_soon_after_the_answer() -> None:
    it = home(ANSWER, **SPOKEN)
    loudspeaker(it)
    hears(it, "Turn on the light.")
    assert it.running == 1
    it.advance(20)
    assert it.running == 0
    assert it.errors == []
