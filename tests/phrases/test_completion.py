from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import phrases as benchmark
from stt_mqtt.phrases import walk
from stt_mqtt.phrases.book import CompiledBook
from stt_mqtt.phrases.completion import MAX_WORDS, completion_of
from stt_mqtt.phrases.match import matches
from stt_mqtt.phrases.names import Area, Entity, HomeNames
from stt_mqtt.types import Completion
from tests.phrases.books import compiled, sentences
from tests.phrases.test_starter_book import LANGUAGES, NEAR, cases_of, phrase_book
from tests.thorough import examples

COMPLETE, EXTENDABLE, OPEN, _, NONE = Completion

ENGLISH = """
language: en
intents:
  Switch:
    data:
      - sentences: ["(turn|switch) (on|off) [the] {name} [please]", "{name} (on|off)"]
  Lights:
    data:
      - sentences: ["turn off the lights [in [the] {area}] [right now]", "dim the light[s]"]
  Volume:
    data:
      - sentences: ["set [the] volume to {percent} percent", "volume {percent} [percent]"]
  Timer:
    data:
      - sentences:
          - "set a timer for {minutes} minutes [and {seconds} seconds]"
          - "is it {state} in {floor}"
  List:
    data:
      - sentences: ["add {item} to my [to-do] list", "remind me to {text}", "what's on my list"]
  Play:
    data:
      - sentences: ["play {query} [in the {area}]", "play the next song"]
  Single:
    data:
      - sentences: [stop, "pause [the music]", "twelve"]
lists:
  percent: {range: {from: 0, to: 100}}
  minutes: {range: {from: 1, to: 30}}
  seconds: {range: {from: 1, to: 59}}
  state: {values: [warm]}
  item: {wildcard: true}
  text: {wildcard: true}
  query: {wildcard: true}
skip_words: [please, could you]
"""
GERMAN = """
language: de
intents:
  Lights:
    data:
      - sentences: ["[schalte] [das] {area}[n]licht (an|aus)", "Licht {area} (an|aus) [jetzt]"]
  Blinds:
    data:
      - sentences: ["fahre {name} hoch", "fahre {name} auf {percent} Prozent"]
  Volume:
    data:
      - sentences: ["Lautstärke {percent} [Prozent]", "{percent}% lauter"]
  Timer:
    data:
      - sentences: ["stelle einen Timer auf {minutes} Minute[n]", "(ja|ja gerne)"]
lists:
  percent: {range: {from: 0, to: 100}}
  minutes: {range: {from: 1, to: 30}}
skip_words: [bitte, kannst du]
"""
NAMES = HomeNames(
    entities=(
        Entity("light.bed", ("Bed Light",)),
        Entity("light.kitchen", ("Kitchen Light",)),
        Entity("light.strip", ("Kitchen Light Strip",)),
        Entity("light.anna", ("Anna's Lamp",)),
        Entity("cover.left", ("Rollo links",)),
        Entity("cover.all", ("Rollo",)),
    ),
    areas=(Area("bed", ("Bedroom",)), Area("kitchen", ("Küche",)), Area("bath", ("Bad",))),
)


@cache
def home(language: str) -> CompiledBook:
    return compiled({"en": ENGLISH, "de": GERMAN}[language], NAMES)


@pytest.mark.parametrize(
    ("text", "completion"),
    [
        ("Turn on the Bed Light.", COMPLETE),
        ("turn on the bed light", COMPLETE),
        ("Please turn on the bed light!", COMPLETE),
        ("Turn on the bed light, please.", COMPLETE),
        ("Turn on Anna's lamp", COMPLETE),
        ("Stop.", COMPLETE),
        ("twelve", COMPLETE),
        ("12", COMPLETE),
        ("Pause", EXTENDABLE),
        # A tail that is likely, and polite words
        ("Turn off the lights", EXTENDABLE),
        ("Turn off the lights in the bedroom", COMPLETE),
        ("Turn off the lights right", OPEN),
        ("Turn off the lights right now", COMPLETE),
        ("Dim the light", COMPLETE),
        ("Dim the lights", COMPLETE),
        # A name that begins another name; a word that begins another word
        ("Turn on the kitchen light", EXTENDABLE),
        ("Turn on the kitchen light strip", COMPLETE),
        ("Turn on the kitchen", OPEN),
        ("Turn on the bed", OPEN),
        ("Turn off the lights in the bed", NONE),
        ("Turn on the bedroom", NONE),
        # The beginnings of phrases
        ("Turn", OPEN),
        ("Turn on the", OPEN),
        ("Bed light", OPEN),
        ("Please", OPEN),
        ("Could you", OPEN),
        ("Could you turn on", OPEN),
        # Numbers
        ("Set the volume to", OPEN),
        ("Set the volume to twenty", OPEN),
        ("Set the volume to 20", OPEN),
        ("Set the volume to 20%", COMPLETE),
        ("Set the volume to twenty-five percent", COMPLETE),
        ("Volume 25", EXTENDABLE),
        ("Volume 25 percent", COMPLETE),
        ("Set the volume to 120 percent", NONE),
        ("Set a timer for 5 minutes", EXTENDABLE),
        ("Set a timer for five minutes and", OPEN),
        ("Set a timer for five minutes and ten seconds", COMPLETE),
        # Wildcards
        ("Remind me to", OPEN),
        ("Remind me to call", EXTENDABLE),
        ("Remind me to call mum about the play", EXTENDABLE),
        ("Add milk", OPEN),
        ("Add milk to my", OPEN),
        ("Add milk to my to", OPEN),
        ("Add milk to my list", COMPLETE),
        ("Add milk to my to-do list", COMPLETE),
        ("What's on my list?", COMPLETE),
        ("Play jazz", EXTENDABLE),
        ("Play jazz in the bedroom", COMPLETE),
        # What nobody can say, because a list is empty
        ("Is it warm", NONE),
        # What is not of the book
        ("", NONE),
        ("...", NONE),
        ("The quick brown fox", NONE),
        ("Turn on the bed light strip", NONE),
        ("Stop it", NONE),
        ("日本語", NONE),
    ],
)
def test_english(text: str, completion: Completion) -> None:
    assert completion_of(home("en"), text) is completion


@pytest.mark.parametrize(
    ("text", "completion"),
    [
        ("Schalte das Küchenlicht an.", COMPLETE),
        ("Kannst du bitte das Badlicht ausschalten", NONE),
        ("Badlicht aus, bitte!", COMPLETE),
        ("Licht Küche an", COMPLETE),
        ("Küchenlicht", OPEN),
        ("Schalte das Küche", NONE),
        ("Schalte das Küche Licht an", NONE),
        ("Fahre Rollo", OPEN),
        ("Fahre Rollo hoch", COMPLETE),
        ("Fahre Rollo links", OPEN),
        ("Fahre Rollo links auf 20", OPEN),
        ("Fahre Rollo links auf 20 %", COMPLETE),
        ("Fahre Rollo links auf einundzwanzig Prozent", COMPLETE),
        ("Lautstärke einundzwanzig", EXTENDABLE),
        ("Lautstärke 21", EXTENDABLE),
        ("Lautstärke 21 Prozent", COMPLETE),
        ("20% lauter", COMPLETE),
        ("20 Prozent", OPEN),
        ("Stelle einen Timer auf 5 Minuten", COMPLETE),
        ("Stelle einen Timer auf fünf", OPEN),
        ("Stelle einen Timer auf fünf Minute", COMPLETE),
        ("Ja", EXTENDABLE),
        ("Ja gerne", COMPLETE),
        ("Guten Tag", NONE),
    ],
)
def test_german(text: str, completion: Completion) -> None:
    assert completion_of(home("de"), text) is completion


def test_a_number_that_begins_another_one_can_go_on() -> None:
    book = sentences("say {n}", lists="{n: {range: {from: 1, to: 21}}}")
    assert completion_of(book, "say 20") is EXTENDABLE
    assert completion_of(book, "say 21") is COMPLETE


def test_a_bare_name_is_no_phrase() -> None:
    book = compiled(
        "language: en\nintents: {A: {data: [{sentences: ['[turn on] {name}']}]}}", NAMES
    )
    assert completion_of(book, "bed light") is NONE
    assert completion_of(book, "turn on bed light") is COMPLETE


def test_a_fixed_phrase_is_not_taken_for_the_words_of_a_wildcard() -> None:
    book = sentences("add milk to the tea", "add {x} to my list", lists="{x: {wildcard: true}}")
    assert completion_of(book, "add milk to the tea") is COMPLETE
    assert completion_of(book, "add milk to the") is OPEN


def test_a_fixed_phrase_may_be_the_first_words_of_a_wildcard() -> None:
    book = sentences("play music", "play {x}", lists="{x: {wildcard: true}}")
    assert completion_of(book, "play music") is EXTENDABLE


def test_words_that_the_book_skips_may_be_those_of_a_phrase() -> None:
    book = compiled(
        "language: de\nintents: {A: {data: [{sentences: ['ja [bitte|gerne]']}]}}\n"
        "skip_words: [bitte]"
    )
    assert completion_of(book, "ja bitte") is COMPLETE
    assert completion_of(book, "ja") is EXTENDABLE


@pytest.mark.parametrize(
    ("book", "complete", "extendable"),
    [
        ("words", ["five", "stop", "yes", "no", "Off."], []),
        (
            "commands",
            ["Turn on the Bed Light.", "next", "cancel all timers", "is the front door locked"],
            ["pause", "set a timer for 5 minutes", "what's the weather"],
        ),
        (
            "orders",
            ["Can I have a latte with some milk and a lot of sugar please?"],
            ["I want a small latte", "get me a mocha with sugar"],
        ),
    ],
)
def test_the_books_of_the_benchmark(book: str, complete: list[str], extendable: list[str]) -> None:
    text = (Path(benchmark.BOOKS) / f"{book}.yaml").read_text("utf-8")
    read = compiled(text)
    assert {text: completion_of(read, text) for text in complete} == dict.fromkeys(
        complete, COMPLETE
    )
    assert {text: completion_of(read, text) for text in extendable} == dict.fromkeys(
        extendable, EXTENDABLE
    )


def said(cases: str) -> list[str]:
    """Commands that the starter book has."""
    if cases == NEAR:
        listed: list[str] = cases_of(NEAR)["said"]
        return listed
    return [text for sentences in cases_of(cases)["commands"].values() for text in sentences]


def starter(cases: str) -> CompiledBook:
    book = phrase_book(cases).compiled(cases_of(cases)["language"])
    assert book is not None
    return book


@pytest.mark.parametrize("cases", [*LANGUAGES, NEAR])
def test_a_command_of_the_starter_book_is_whole_and_its_beginnings_begin_it(cases: str) -> None:
    book = starter(cases)
    half_skipped = {skipped.split()[0] for skipped in book.skip_words if " " in skipped}
    for text in said(cases):
        words = text.split()
        assert completion_of(book, text) in {COMPLETE, EXTENDABLE}, text
        for count in range(1, len(words)):
            beginning = " ".join(words[:count])
            if beginning.casefold() not in half_skipped:
                assert completion_of(book, beginning) is not NONE, beginning


@pytest.mark.parametrize("cases", [*LANGUAGES, NEAR])
def test_the_text_of_an_accepted_phrase_is_as_complete_as_the_transcript(cases: str) -> None:
    book = starter(cases)
    for text in said(cases)[::8]:
        exact = matches(book, [text], 8).exact
        assert exact is not None
        assert completion_of(book, exact.text) is completion_of(book, text), text


@pytest.mark.parametrize("cases", [*LANGUAGES, NEAR])
def test_two_of_three_commands_of_the_starter_book_are_complete(cases: str) -> None:
    book = starter(cases)
    found = [completion_of(book, text) for text in said(cases)]
    assert found.count(COMPLETE) >= 0.65 * len(found)


@pytest.mark.parametrize("cases", LANGUAGES)
def test_what_is_no_command_of_the_starter_book_is_not_whole(cases: str) -> None:
    book = starter(cases)
    for text in cases_of(cases)["not_commands"]:
        assert completion_of(book, text) in {OPEN, NONE}, text


@dataclass(frozen=True)
class Drawn:
    """A template, and all texts that it has."""

    template: str
    texts: frozenset[str]


LISTS = {
    "thing": ("bed", "bed light", "bed light strip", "lamp"),
    "place": ("bedroom", "bath", "bath on two"),
    "n": ("19", "20", "21"),
}
LIST_TEXT = (
    "{{thing: {{values: [{}]}}, place: {{values: [{}]}}, n: {{range: {{from: 19, to: 21}}}}}}"
)
WILDCARD = "{x: {wildcard: true}}"
POLITE_WORDS = {"please", "now"}


def joined(parts: list[Drawn], space: str) -> Drawn:
    texts = frozenset(space.join(chosen) for chosen in product(*(part.texts for part in parts)))
    return Drawn(space.join(part.template for part in parts), texts)


def either(parts: list[Drawn]) -> Drawn:
    texts = frozenset[str]().union(*(part.texts for part in parts))
    return Drawn("(" + "|".join(part.template for part in parts) + ")", texts)


def optional(part: Drawn) -> Drawn:
    return Drawn(f"[{part.template}]", part.texts | {""})


def plural(word: str) -> Drawn:
    return Drawn(f"{word}[s]", frozenset({word, f"{word}s"}))


PIECES = st.recursive(
    st.one_of(
        st.sampled_from(["on", "bed", "light", "lights", "twenty", "one", "please", "now"]).map(
            lambda word: Drawn(word, frozenset({word}))
        ),
        st.sampled_from(["light", "bed", "lamp"]).map(plural),
        st.sampled_from(sorted(LISTS)).map(
            lambda name: Drawn(f"{{{name}}}", frozenset(LISTS[name]))
        ),
    ),
    lambda pieces: st.one_of(
        st.lists(pieces, min_size=2, max_size=3).map(lambda parts: joined(parts, " ")),
        st.lists(pieces, min_size=2, max_size=3).map(either),
        pieces.map(optional),
    ),
    max_leaves=6,
)
BOOKS = st.lists(PIECES, min_size=1, max_size=3)


def expected(texts: set[tuple[str, ...]], words: tuple[str, ...]) -> Completion:
    """The completion by the list of all sentences."""
    tails = [text[len(words) :] for text in texts if text[: len(words)] == words]
    if () in tails:
        return EXTENDABLE if any(set(tail) - POLITE_WORDS for tail in tails) else COMPLETE
    return OPEN if tails else NONE


def spoken(text: str) -> tuple[str, ...]:
    numbers = {"19": "nineteen", "20": "twenty", "21": "twenty one"}
    return tuple(" ".join(numbers.get(word, word) for word in text.split()).split())


def beginnings(texts: set[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for text in sorted(texts)[:40]:
        for count in range(1, len(text) + 1):
            yield text[:count]
            yield (*text[: count - 1], "on")
            yield (*text[: count - 1], "bedlight")


@settings(deadline=None, max_examples=examples(50))
@given(BOOKS)
def test_a_random_book_agrees_with_the_list_of_its_sentences(pieces: list[Drawn]) -> None:
    things, places = (", ".join(LISTS[name]) for name in ("thing", "place"))
    book = sentences(*(piece.template for piece in pieces), lists=LIST_TEXT.format(things, places))
    texts = {spoken(text) for piece in pieces for text in piece.texts} - {()}
    for words in beginnings(texts):
        assert completion_of(book, " ".join(words)) is expected(texts, words), words


def test_a_text_of_too_many_words_is_nothing() -> None:
    book = home("en")
    assert completion_of(book, "remind me to" + " call" * (MAX_WORDS - 3)) is EXTENDABLE
    assert completion_of(book, "remind me to" + " call" * (MAX_WORDS - 2)) is NONE
    assert completion_of(book, "x" * 100_000) is NONE


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[walk.SentencePlace]:
    """The places that walkers come to."""
    places: list[walk.SentencePlace] = []

    class Counted(walk.SentencePlace):
        def __post_init__(self) -> None:
            places.append(self)

    monkeypatch.setattr(walk, "SentencePlace", Counted)
    return places


def test_the_work_does_not_grow_with_the_names(made: list[walk.SentencePlace]) -> None:
    def work(names: int) -> int:
        book = compiled(
            "language: en\nintents: {A: {data: [{sentences: ['turn on {name} [in {area}]']}]}}",
            HomeNames(
                tuple(Entity(f"light.{n}", (f"kitchen light {n}",)) for n in range(names)),
                (Area("kitchen", ("Kitchen",)),),
            ),
        )
        made.clear()
        assert completion_of(book, "turn on kitchen light 5") is EXTENDABLE
        return len(made)

    assert work(2000) == work(20)


def test_the_work_does_not_grow_with_the_sentences(made: list[walk.SentencePlace]) -> None:
    def work(count: int) -> int:
        templates = [f"(turn|switch) [it] on to w{n} [now]" for n in range(count)]
        book = sentences(*templates, *(f"{{x}} w{n} on" for n in range(count)), lists=WILDCARD)
        made.clear()
        assert completion_of(book, "turn on to w5") is EXTENDABLE
        return len(made)

    assert work(1000) == work(20)


def test_several_wildcards_are_no_more_work_than_the_square_of_the_words(
    made: list[walk.SentencePlace],
) -> None:
    book = sentences("{x} and {x} and {x} and {x} or", lists=WILDCARD)
    assert completion_of(book, " ".join(["and"] * MAX_WORDS)) is OPEN
    assert len(made) < 10 * MAX_WORDS**2
