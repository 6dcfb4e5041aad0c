"""The phrase files that the configuration names: what they give, and every mistake in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.config import PhrasesConfig
from stt_mqtt.errors import EXIT_CONFIG, ConfigError
from stt_mqtt.phrases import files
from stt_mqtt.phrases.book import PhraseBook
from stt_mqtt.phrases.match import matches
from stt_mqtt.phrases.source import BOUNDS, MAX_PROBLEMS, intents_of, merge, read_book
from tests.thorough import examples

HEAD = "language: en\n"


def book_of(*texts: str) -> PhraseBook:
    named = [(f"f{number}" if number else "f", text) for number, text in enumerate(texts)]
    languages, problems = merge(named, frozenset())
    assert problems == []
    return PhraseBook({code: intents_of(one) for code, one in languages.items()})


def problems_of(*texts: str, known: frozenset[str] = frozenset()) -> list[str]:
    named = [(f"f{number}" if number else "f", text) for number, text in enumerate(texts)]
    return merge(named, known)[1]


def block(*sentences: str, rest: str = "") -> str:
    quoted = ", ".join(f"'{sentence}'" for sentence in sentences)
    return f"{HEAD}intents: {{Do: {{data: [{{sentences: [{quoted}]}}]}}}}\n{rest}"


def said(book: PhraseBook, text: str, language: str = "en") -> tuple[str, dict[str, object]] | None:
    """The intent and the slots of a text that is exactly a phrase."""
    compiled = book.compiled(language)
    assert compiled is not None
    exact = matches(compiled, (text,), 4).exact
    return None if exact is None else (exact.phrase.id, dict(exact.phrase.slots))


# What files give ---------------------------------------------------------------------------


def test_a_file_in_the_format_of_home_assistant_is_read() -> None:
    book = book_of(
        """
language: en-US
intents:
  SetVolume:
    data:
      - sentences: ["(set|change) [the] volume to {level:volume_level}"]
        slots: {domain: media_player}
  Order:
    data:
      - sentences: ["<please> (a|one) {drink}"]
expansion_rules:
  please: "(bring|give) me"
lists:
  level: {range: {from: 0, to: 100, step: 10}}
  drink: {values: [tea, {in: flat white, out: coffee}, "[hot] chocolate"]}
skip_words: [please]
responses: {intents: {Order: {default: "Here you are"}}}
"""
    )
    assert said(book, "Change volume to 40") == (
        "SetVolume",
        {"domain": "media_player", "volume_level": 40},
    )
    assert said(book, "bring me a tea") == ("Order", {"drink": "tea"})
    assert book.languages["en"].skip_words == ["please"]
    assert said(book, "Give me one flat white.") == ("Order", {"drink": "coffee"})
    assert said(book, "Give me one hot chocolate.") == ("Order", {"drink": "hot chocolate"})


def test_the_files_of_a_language_are_one_book() -> None:
    book = book_of(
        block("go to <place>", rest="lists: {room: {values: [attic]}}\n"),
        block("leave {room}", rest="expansion_rules: {place: '[the] {room}'}\n"),
        HEAD + "lists: {room: {values: [cellar]}}\nskip_words: [now]\n",
        "language: de\nintents: {Los: {data: [{sentences: [los]}]}}\n",
    )
    assert sorted(book.languages) == ["de", "en"]
    assert said(book, "go to the cellar") == ("Do", {"room": "cellar"})
    assert said(book, "leave attic") == ("Do", {"room": "attic"})
    assert said(book, "los", "de") == ("Los", {})


def test_words_that_yaml_takes_for_truth_values_and_numbers_are_words() -> None:
    text = "language: en\nintents: {on: {data: [{sentences: [no, 7, '{state}']}]}}\n"
    book = book_of(text + "lists: {state: {values: [on, off, {in: yes, out: true}]}}\n")
    assert said(book, "no") == ("on", {})
    assert said(book, "seven") == ("on", {})
    assert said(book, "off") == ("on", {"state": "off"})
    assert said(book, "yes") == ("on", {"state": True})


def test_norwegian_is_a_language() -> None:
    assert sorted(
        book_of("language: no\nintents: {A: {data: [{sentences: [hei]}]}}").languages
    ) == ["no"]


def test_a_block_has_lists_and_rules_of_its_own() -> None:
    text = """
language: en
intents:
  A:
    data:
      - sentences: ["<verb> {thing}"]
        expansion_rules: {verb: take}
        lists: {thing: {values: [ball]}}
      - sentences: ["<verb> {thing}"]
expansion_rules: {verb: drop}
lists: {thing: {values: [stone]}}
"""
    book = book_of(text)
    assert said(book, "take ball") == ("A", {"thing": "ball"})
    assert said(book, "drop stone") == ("A", {"thing": "stone"})
    assert said(book, "take stone") is None


def test_values_may_be_written_once_and_referred_to() -> None:
    text = (
        "language: en\nintents: {A: {data: [{sentences: &s [go]}]}, B: {data: [{sentences: *s}]}}"
    )
    assert len(book_of(text).languages["en"].intents) == 2


def test_slots_are_values_that_json_has() -> None:
    text = (
        "language: en\nintents: {A: {data: [{sentences: [go], slots: "
        "{day: 2024-01-31, much: .inf, deep: {a: [1, 2.5, null, true]}}}]}}"
    )
    assert said(book_of(text), "go") == (
        "A",
        {"day": "2024-01-31", "much": ".inf", "deep": {"a": [1, 2.5, None, True]}},
    )


# Mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "f:1:1: a phrase file must name its language, as in `language: en`"),
        ("[a]", "f:1:1: a phrase file must name its language, as in `language: en`"),
        ("intents: {}", "f:1:1: a phrase file must name its language, as in `language: en`"),
        ("language: [en]", "f:1:11: language must be a language tag such as en or pt-BR"),
        ("language: klingon", "f:1:11: 'klingon' is no language tag such as en or pt-BR"),
        ("language: en", "f:1:11: no file has sentences for en"),
        (HEAD + "intents: [a]", "f:2:10: intents must have keys below it"),
        (HEAD + "intents: {A: }", "f:2:14: intent 'A' lacks its data"),
        (HEAD + "intents: {A: {}}", "f:2:14: intent 'A' lacks its data"),
        (
            HEAD + "intents: {A: {data: {}}}",
            "f:2:21: data must be a list, as in [a, b] or one - per line",
        ),
        (HEAD + "intents: {A: {data: [{}]}}", "f:2:22: an entry of data lacks its sentences"),
        (HEAD + "intents: {A: {data: [a]}}", "f:2:22: an entry of data must have keys below it"),
        (
            HEAD + "intents: {A: {data: [{sentences: go}]}}",
            "f:2:34: sentences must be a list, as in [a, b] or one - per line",
        ),
        (
            HEAD + "intents: {A: {data: [{sentences: [{name}]}]}}",
            "f:2:35: sentences must be texts; are quotes missing?",
        ),
        (
            HEAD + "intents: {A: {data: [{sentences: [a], slots: [b]}]}}",
            "f:2:46: slots must have keys below it",
        ),
        (block("") + "", "f:2:36: a sentence: it is empty"),
        (block("turn (on"), "f:2:36: a sentence: a ) is missing"),
        (block("turn on)"), "f:2:36: a sentence: a ) without its opening bracket"),
        (block("turn (on]"), "f:2:36: a sentence: a ] closes another bracket"),
        (block("a {}"), "f:2:36: a sentence: it is no template; is a bracket missing or empty?"),
        (
            block("[" * 25 + "a" + "]" * 25),
            "f:2:36: a sentence: it has more than 24 brackets inside each other",
        ),
        (block("a" * 4001), "f:2:36: a sentence: it has more than 4000 characters"),
        (block("<go> on"), "f:2:36: there is no expansion rule <go>"),
        (
            block("take {thing}"),
            "f:2:36: there is no list {thing}; if it comes from the home, add it to phrases.names",
        ),
        (
            block("to {0..100}"),
            "f:2:36: there is no list {0..100}; a range is written as {0..100:slot}",
        ),
        (
            block("to {9..1:n}"),
            "f:2:36: the range {9..1} goes from 9 to 1; the smaller number must come first",
        ),
        (
            block("to {0..10000:n}"),
            "f:2:36: the range {0..10000} has 10001 numbers, at most 10000 are possible",
        ),
        (block("to {0..9,0:n}"), "f:2:36: the range {0..9,0} has step 0; it must be 1 or more"),
        (block("a;b;c;d;e;f;g"), "f:2:36: a permutation has more than 6 parts"),
        (
            block("go", rest="expansion_rules: {a: 'x <b>', b: '<c>', c: '[<a>]'}"),
            "f:3:19: the expansion rule <a> contains itself",
        ),
        (
            block("go", rest="expansion_rules: {a: [b]}"),
            "f:3:22: rule <a> must be text",
        ),
        (
            block("go <x>", rest="expansion_rules: {x: '{y}'}"),
            "f:3:19: there is no list {y}; if it comes from the home, add it to phrases.names",
        ),
        (
            block("go", rest="lists: {x: {}}"),
            "f:3:9: list {x} needs one of values, range and wildcard: true",
        ),
        (
            block("go", rest="lists: {x: {wildcard: false}}"),
            "f:3:9: list {x} needs one of values, range and wildcard: true",
        ),
        (
            block("go", rest="lists: {x: {wildcard: true, values: [a]}}"),
            "f:3:9: list {x} needs one of values, range and wildcard: true",
        ),
        (
            block("go", rest="lists: {x: {wildcard: perhaps}}"),
            "f:3:23: wildcard must be true or false",
        ),
        (
            block("go", rest="lists: {x: {values: a}}"),
            "f:3:21: the values of list {x} must be a list, as in [a, b] or one - per line",
        ),
        (
            block("go", rest="lists: {x: {values: [{out: a}]}}"),
            "f:3:22: a value must be text, or have text below `in`",
        ),
        (
            block("go", rest="lists: {x: {values: ['{y}']}}"),
            "f:3:22: a value cannot contain a list",
        ),
        (
            block("go", rest="lists: {x: {values: ['<y>']}}"),
            "f:3:22: there is no expansion rule <y>",
        ),
        (
            block("go", rest="lists: {x: {range: {to: 3}}}"),
            "f:3:20: list {x}: a range needs from and to",
        ),
        (
            block("go", rest="lists: {x: {range: {from: a, to: 3}}}"),
            "f:3:27: from must be a number up to 1000000000",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 1.5, to: 3}}}"),
            "f:3:27: from must be a whole number",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 4, to: 3}}}"),
            "f:3:20: list {x} goes from 4 to 3; the smaller number must come first",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 0, to: 9, step: 0}}}"),
            "f:3:43: step must be 1 or more",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 0, to: 1000, fractions: tenths}}}"),
            "f:3:20: list {x} has 10010 numbers, at most 10000 are possible",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 0, to: 9, fractions: thirds}}}"),
            "f:3:48: fractions must be halves or tenths",
        ),
        (
            block("go", rest="lists: {x: {range: {from: 0, to: 9, multiplier: much}}}"),
            "f:3:49: multiplier must be a number up to 1000000000",
        ),
        (
            block("go", rest="skip_words: please"),
            "f:3:13: skip_words must be a list, as in [a, b] or one - per line",
        ),
        (
            HEAD + "intents: {A: {data: [{<<: {}}]}}",
            "f:2:23: << is not possible here, write the keys",
        ),
        (HEAD + "language: de", "f:2:1: 'language' is given twice, first in line 1"),
        (HEAD + "? [a]\n: b", "f:2:3: a phrase file: a key must be text"),
    ],
)  # fmt: skip
def test_every_mistake_says_where_it_is(text: str, line: str) -> None:
    assert line in problems_of(text)


@pytest.mark.parametrize("text", ["language: *en", "a: [", "a: !!set {}", "a: &a [*a]", "a: 'b"])
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    (line,) = problems_of(text)
    assert line.startswith("f:1:")


def test_all_mistakes_of_all_files_are_reported_at_once_in_their_order() -> None:
    lines = problems_of(
        block("a (", "<b>") + "lists: {x: }\n",
        "nothing",
        block("{c}"),
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "f:2:36",
        "f:2:43",
        "f:3:9",
        "f1:1:1",
        "f2:2:36",
    ]


def test_a_file_that_cannot_be_read_does_not_make_its_rules_unknown() -> None:
    (line,) = problems_of(block("<a> on"), HEAD + "expansion_rules: {a: [\n")
    assert line.startswith("f1:3:1: a value is missing")


def test_two_files_must_agree_about_what_a_list_is() -> None:
    first = block("take {x}", rest="lists: {x: {values: [a]}}")
    second = HEAD + "lists: {x: {wildcard: true}}"
    assert problems_of(first, second) == [
        "f1:2:9: list {x} has a wildcard here and values in f:3:9"
    ]
    numbers = HEAD + "lists: {{x: {{range: {{from: 0, to: {}}}}}}}"
    assert problems_of(block("take {x}"), numbers.format(5), numbers.format(5)) == []
    assert problems_of(block("take {x}"), numbers.format(5), numbers.format(6)) == [
        "f2:2:9: list {x} has another range in f1:2:9"
    ]


def test_lists_of_the_home_and_of_the_configuration_are_known() -> None:
    text = block("tell {name} in {area} on {floor} about {topic}")
    assert problems_of(text, known=frozenset({"topic"})) == []


def test_a_rule_that_nothing_uses_may_need_a_list_that_is_not_there() -> None:
    assert problems_of(block("go", rest="expansion_rules: {a: '{nowhere}'}")) == []


def test_rules_cannot_make_a_sentence_without_end() -> None:
    rules = "".join(f"  r{n}: '<r{n + 1}> <r{n + 1}>'\n" for n in range(20))
    text = block("<r0>", rest=f"expansion_rules:\n{rules}  r20: '[a]'\n")
    assert problems_of(text) == [
        "f:2:36: this becomes more than 50000 words and lists with its rules"
    ]
    chain = "".join(f"  r{n}: '<r{n + 1}>'\n" for n in range(5000))
    lines = problems_of(block("<r0>", rest=f"expansion_rules:\n{chain}  r5000: a\n"))
    assert any(line.endswith("more than 64 brackets and rules inside each other") for line in lines)


def test_the_sentences_of_a_language_are_bounded() -> None:
    rule = "a " * 1900
    sentences = " ".join(f"'<r> <r> <r> <r> <r> w{n}'," for n in range(700))
    text = f"{HEAD}intents: {{A: {{data: [{{sentences: [{sentences}]}}]}}}}\n"
    lines = problems_of(text + f"expansion_rules: {{r: '({'|'.join(rule.split())})'}}")
    (line,) = lines
    assert "language en has more than 1000000 words" in line


@pytest.mark.parametrize("kind", ["many", "added"])
def test_the_values_of_a_list_are_bounded(kind: str) -> None:
    values = ", ".join(f"v{n}" for n in range(10_001 if kind == "many" else 6_000))
    text = HEAD + f"lists: {{x: {{values: [{values}]}}}}"
    texts = [block("take {x}"), text] + ([text] if kind == "added" else [])
    (line,) = problems_of(*texts)
    assert "10000" in line


def test_the_nodes_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BOUNDS.nodes == 200_000
    few = replace(BOUNDS, nodes=2_000)
    monkeypatch.setattr("stt_mqtt.phrases.source.BOUNDS", few)
    (line,) = problems_of(HEAD + "skip_words: [" + "a, " * few.nodes + "]")
    assert line.endswith("more than 2000 keys and values")
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
    )
    (line,) = problems_of(bomb)
    assert line.endswith("more than 2000 keys and values")


trees = st.recursive(
    st.sampled_from(
        ["", "en", "no", "a", "(a|b)", "[a] {x}", "{name}", "<r>", "(", "{", "[]", "a;b", "\\", "1",
         "-1", "2.5", "true", "{1..9:n}", "null", "~", "1:30", "0x1f", "2024-01-01", ".nan", "<<"]
    )
    | st.text(max_size=6)
    | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["language", "intents", "lists", "expansion_rules", "skip_words", "data", "sentences",
             "slots", "requires_context", "values", "range", "wildcard", "in", "out", "context",
             "from", "to", "step", "x", "r", "area"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


def as_text(tree: object) -> str:
    """YAML in flow style, with most texts without quotes."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {as_text(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(as_text(item) for item in tree) + "]"
    if isinstance(tree, str) and any(letter in tree for letter in "[]{}<>,:#&*!|'\"%@`"):
        return "'" + tree.replace("'", "''") + "'"
    return "null" if tree is None else str(tree)


@settings(max_examples=examples(130), deadline=None)
@given(trees, trees, trees)
def test_no_file_does_more_harm_than_a_report(intents: object, lists: object, rest: object) -> None:
    whole = (
        "language: en\nintents: {A: {data: [{sentences: ['a {x} <r>'], slots: "
        f"{as_text(rest)}}}, {as_text(intents)}]}}}}\nlists: {{x: {as_text(lists)}}}\n"
        f"expansion_rules: {{r: {as_text(rest)}}}\n"
    )
    for text in (whole, as_text(rest)):
        languages, problems = merge([("f", text)], frozenset())
        assert all(line.startswith("f:") for line in problems)
        if not problems:
            book = PhraseBook({code: intents_of(one) for code, one in languages.items()})
            for code in book.languages:
                assert book.compiled(code) is not None


# Files -------------------------------------------------------------------------------------


def config(*paths: Path, **names: tuple[str, ...]) -> PhrasesConfig:
    return PhrasesConfig(paths=tuple(map(str, paths)), names=names)


def unusable(phrases: PhrasesConfig) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_book(phrases)
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value.problems


def test_a_folder_gives_its_files_and_those_of_its_folders(tmp_path: Path) -> None:
    (tmp_path / "en" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "en" / "a.yaml").write_text(block("one"))
    (tmp_path / "en" / "deep" / "b.YML").write_text(block("two"))
    (tmp_path / "en" / "notes.txt").write_text("no phrase file")
    (tmp_path / "en" / "._a.yaml").write_text("no phrase file")
    (tmp_path / ".git" / "c.yaml").write_text("no phrase file")
    book = read_book(config(tmp_path, tmp_path / "en" / "a.yaml", drink=("tea",)))
    (intent,) = book.languages["en"].intents.values()
    assert [data.sentence_texts for data in intent.data] == [["one"], ["two"]]
    assert book.names.lists[0].values == ("tea",)


def test_a_path_that_gives_nothing_is_reported_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "wrong.yaml").write_text("x")
    names = ("absent", "empty", "bytes.yaml", "pipe.yaml", "wrong.yaml")
    lines = unusable(config(*(tmp_path / name for name in names)))
    assert lines == [
        f"{tmp_path}/absent: phrases.paths: cannot be read: No such file or directory",
        f"{tmp_path}/empty: phrases.paths: has no file *.yaml or *.yml",
        f"{tmp_path}/bytes.yaml: phrases.paths: is not UTF-8 text",
        f"{tmp_path}/pipe.yaml: phrases.paths: is no file",
        f"{tmp_path}/wrong.yaml:1:1: a phrase file must name its language, as in `language: en`",
    ]
    (line,) = unusable(config(Path("a\0b")))
    assert "cannot be read" in line


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.yaml").write_text(block("one"))
    assert list(read_book(config(tmp_path)).languages) == ["en"]


def test_files_are_bounded_in_size_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.yaml").write_text(block("one") + "#" * 100)
    size = (tmp_path / "0.yaml").stat().st_size
    for bound, value, said in (
        ("MAX_FILE_BYTES", size - 1, "is larger than"),
        ("MAX_TOTAL_BYTES", 4 * size - 1, "the files are larger than"),
        ("MAX_FILES", 3, "more than 3 phrase files"),
        ("MAX_ENTRIES", 3, "more than 3 files and folders"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(files, bound, value)
            assert any(said in line for line in unusable(config(tmp_path)))
    assert list(read_book(config(tmp_path)).languages) == ["en"]


def test_a_list_that_only_the_configuration_has_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(block("take {thing}"))
    assert said(read_book(config(tmp_path, thing=("ball",))), "take ball") is not None
    assert said(read_book(config(tmp_path, thing=())), "take ball") is None


def test_a_long_list_of_mistakes_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(block(*(f"<r{n}>" for n in range(MAX_PROBLEMS + 20))))
    lines = unusable(config(tmp_path))
    assert len(lines) == MAX_PROBLEMS + 1
    assert lines[-1] == "and 20 more"
