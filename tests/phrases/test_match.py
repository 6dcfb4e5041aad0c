from __future__ import annotations

import pytest

from stt_mqtt.phrases.match import Matches, PhraseCandidate, matches
from stt_mqtt.phrases.names import Area, Entity, HomeNames
from tests.phrases.books import HOME, compiled, sentences

NAMES = HomeNames(
    entities=(
        Entity("cover.garage", ("Garage Door",)),
        Entity("light.bed", ("Bed Light", "night lamp"), "bedroom"),
        Entity("light.mood", ("Mood Lighting",), "living"),
        Entity("switch.pump", ("Pump",)),
    ),
    areas=(Area("bedroom", ("Bedroom",)), Area("kitchen", ("Kitchen", "Galley"))),
)


def found(
    *heard: str, area: str | None = None, names: HomeNames = NAMES, limit: int = 8
) -> Matches:
    return matches(compiled(HOME, names, area), heard, limit)


def nearest(*heard: str, area: str | None = None) -> PhraseCandidate:
    return found(*heard, area=area).near[0]


def exact(text: str, area: str | None = None) -> PhraseCandidate:
    candidate = found(text, area=area).exact
    assert candidate is not None
    return candidate


def test_a_transcript_that_is_a_phrase_needs_no_candidates() -> None:
    assert exact("Turn on the bed light.").text == "Turn on the Bed Light."
    assert found("Turn on the bed light.").near == ()


def test_slots_and_entities_of_a_name() -> None:
    phrase = exact("switch on Mood Lighting").phrase
    assert phrase.id == "TurnOn"
    assert phrase.slots == {"name": "Mood Lighting"}
    assert phrase.entities == {"name": "light.mood"}


def test_an_alias_stands_for_its_entity() -> None:
    phrase = exact("turn on the night lamp").phrase
    assert phrase.slots == {"name": "Bed Light"}
    assert phrase.entities == {"name": "light.bed"}


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        ("Turn on the blue lighting.", "Turn on the Mood Lighting."),
        ("Turn on the bad light.", "Turn on the Bed Light."),
        ("Turnon the bedlight", "Turn on the Bed Light."),
        ("Turn on the palm.", "Turn on the Pump."),
        ("Set a time for 5 minutes.", "Set a timer for 5 minutes."),
        ("Set a timer for thirteen minutes.", "Set a timer for 13 minutes."),
    ],
)
def test_the_phrase_that_sounds_like_the_transcript_is_nearest(heard: str, text: str) -> None:
    result = found(heard)
    assert (result.exact or result.near[0]).text == text


def test_numbers_may_be_written_in_digits_or_in_words() -> None:
    assert exact("Set a timer for 5 minutes.").phrase.slots == {"minutes": 5}
    assert exact("Set a timer for five minutes.").phrase.slots == {"minutes": 5}


def test_permuted_parts_are_found_in_each_order() -> None:
    wanted = {"size": "large", "temperature": "cold", "drink": "tea", "shop": "cafe"}
    assert exact("order a large iced tea").phrase.slots == wanted
    assert exact("order a cold large tea").phrase.slots == wanted


def test_a_name_of_another_domain_is_no_value() -> None:
    texts = [candidate.text for candidate in found("turn on the garage door").near]
    assert "Turn on the Garage Door." not in texts


def test_a_sentence_for_an_area_needs_a_device_in_it() -> None:
    assert exact("boil the kettle", area="kitchen").phrase.id == "Kettle"
    assert exact("boil the kettle", area="Galley").phrase.id == "Kettle"
    assert found("boil the kettle", area="Bedroom").exact is None
    assert found("boil the kettle").exact is None


def test_the_area_of_the_device_fills_a_slot() -> None:
    assert exact("lights on", area="bedroom").phrase.slots == {"area": "Bedroom"}
    assert found("lights on").exact is None


def test_words_that_may_be_skipped_do_not_matter() -> None:
    assert exact("Please, stop!").text == "Stop."


def test_the_words_of_a_wildcard_are_those_that_were_heard() -> None:
    phrase = nearest("Remind me two water Anna's plants.").phrase
    assert phrase.id == "Remind"
    assert phrase.slots == {"text": "water Anna's plants"}


def test_what_sounds_like_no_phrase_has_no_candidate() -> None:
    assert found("The quick brown fox jumps over the lazy dog.") == Matches(None, ())


@pytest.mark.parametrize("heard", ["", "...", "…!", "日本語", "a " * 2000])
def test_any_text_is_taken(heard: str) -> None:
    assert found(heard).exact is None


def test_alternatives_of_the_beam_give_candidates() -> None:
    result = found("Dump.", "Stop.")
    assert result.exact is None
    assert result.near[0].text == "Stop."
    assert result.near[0].cost == 0.0


def test_candidates_are_distinct_and_bounded() -> None:
    near = found("turn on the red lie", limit=3).near
    assert len(near) == 3
    assert len({candidate.text for candidate in near}) == 3
    assert [candidate.cost for candidate in near] == sorted(candidate.cost for candidate in near)


def test_a_bare_name_is_no_phrase() -> None:
    book = compiled(
        "language: en\nintents: {Named: {data: [{sentences: ['[the] {name}', '{name} on']}]}}",
        NAMES,
    )
    texts = [candidate.text for candidate in matches(book, ["bed light"], 8).near]
    assert matches(book, ["bed light"], 8).exact is None
    assert "Bed Light." not in texts


def test_a_candidate_is_written_as_the_recogniser_writes() -> None:
    book = sentences(
        "what is the {thing}",
        "set [the] {thing} to {0..100:level} percent",
        lists="{thing: {values: [Outdoor Humidity, New York]}}",
    )
    question = matches(book, ["What is the outdoor humanity?"], 8).near[0]
    assert question.text == "What is the Outdoor Humidity?"
    assert question.written == "What is the outdoor humidity?"
    order = matches(book, ["Send New York to 50%."], 8).near[0]
    assert order.text == "Set New York to 50 percent."
    assert order.written == "Set New York to 50%."


def test_words_that_may_be_skipped_may_be_several_and_part_of_a_phrase() -> None:
    book = compiled(
        "language: en\n"
        "intents: {Said: {data: [{sentences: [stop, 'yes please']}]}}\n"
        "skip_words: [please, can you]\n"
    )
    for heard, text in [
        ("Can you please stop?", "Stop."),
        ("Yes, please.", "Yes please."),
        ("Stop, please!", "Stop."),
    ]:
        candidate = matches(book, [heard], 8).exact
        assert candidate is not None
        assert candidate.text == text


def test_of_sentences_with_the_same_words_the_first_in_the_book_counts() -> None:
    book = compiled(
        "language: en\n"
        "intents:\n"
        "  A: {data: [{sentences: ['open {door}']}]}\n"
        "  B: {data: [{sentences: ['open it']}]}\n"
        "lists: {door: {values: [it, gate]}}\n"
    )
    candidate = matches(book, ["open it"], 8).exact
    assert candidate is not None
    assert candidate.phrase.id == "A"


def test_a_wildcard_takes_as_few_words_as_possible_and_never_none() -> None:
    book = compiled(
        "language: en\n"
        "intents: {Tell: {data: [{sentences: ['tell [everyone] [that] {text}']}]},"
        " Play: {data: [{sentences: ['play {text}', 'play {text} on the radio']}]}}\n"
        "lists: {text: {wildcard: true}}\n"
    )
    told = matches(book, ["Tell everyone that dinner is ready."], 8).exact
    played = matches(book, ["play jazz on the radio"], 8).exact
    assert told is not None
    assert told.phrase.slots == {"text": "dinner is ready"}
    assert played is not None
    assert played.phrase.slots == {"text": "jazz"}
    assert matches(book, ["tell everyone"], 8).near == ()


def test_german_nouns_keep_their_capital_letter() -> None:
    book = compiled(
        "language: de\n"
        "intents: {An: {data: [{sentences: ['Licht in der {area} an']}]}}\n"
        "lists: {area: {values: [Küche]}}\n"
    )
    (candidate, *_) = matches(book, ["Nicht in der Kirche an."], 8).near
    assert candidate.written == "Licht in der Küche an."
