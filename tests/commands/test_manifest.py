"""Reading manifests and scoring what was heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.commands import manifest
from stt_mqtt.commands.manifest import (
    MAX_LINES,
    MAX_PROBLEMS,
    Clip,
    Scorer,
    by_corpus,
    read_audio,
    read_manifest,
    spread,
)
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.errors import ConfigError, MissingExtraError


def write(folder: Path, *lines: object) -> Path:
    file = folder / "clips.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return file


def clip(file: Path, text: str = "", language: str = "en", corpus: str = "") -> Clip:
    return Clip("clips.jsonl:1", file, text, language, corpus)


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_manifest(file)
    return raised.value.problems


def test_a_line_names_a_recording_beside_the_manifest_and_other_keys_are_ignored(
    tmp_path: Path,
) -> None:
    file = write(
        tmp_path,
        {"path": "a/b.wav", "text": "Hello.", "speaker": 7},
        {"path": "c.flac", "text": "Hallo.", "lang": "de-AT", "corpus": "home"},
    )
    assert read_manifest(file) == (
        Clip(f"{file}:1", tmp_path / "a/b.wav", "Hello.", "en", ""),
        Clip(f"{file}:2", tmp_path / "c.flac", "Hallo.", "de", "home"),
    )


def test_empty_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "clips.jsonl"
    file.write_bytes(b'\xef\xbb\xbf\n{"path": "a.wav", "text": "Hi."}\r\n\n')
    assert [one.where for one in read_manifest(file)] == [f"{file}:2"]


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    file = write(tmp_path, {"path": "a.wav", "text": "Hi."}, {"text": "Hi."}, {"path": "a.wav"}, 5)
    first, second, third = problems(file)
    assert first == f"{file}:2: path: Field required"
    assert second == f"{file}:3: text: what is said in the recording is missing"
    assert third.startswith(f"{file}:4: ")


def test_a_line_that_is_no_json_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "clips.jsonl"
    file.write_text("path: a.wav\n", encoding="utf-8")
    (problem,) = problems(file)
    assert problem.startswith(f"{file}:1: Invalid JSON")


def test_more_mistakes_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    found = problems(write(tmp_path, *[{}] * (MAX_PROBLEMS + 3)))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "and 3 more"


def test_noise_needs_no_text(tmp_path: Path) -> None:
    (noise,) = read_manifest(write(tmp_path, {"path": "dog.wav"}), spoken=False)
    assert noise.text == ""


def test_a_manifest_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"path": "a.wav", "text": "Hi."}
    assert len(read_manifest(write(tmp_path, *[line] * MAX_LINES))) == MAX_LINES
    assert "at most 10000 lines" in problems(write(tmp_path, *[line] * (MAX_LINES + 1)))[0]
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", 30)
    assert "at most" in problems(write(tmp_path, line))[0]


def test_a_manifest_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    assert problems(missing) == [
        f"{missing}: the manifest cannot be read: No such file or directory"
    ]
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"path": "a.wav", "text": "\xe4"}')
    assert problems(latin) == [f"{latin}: the manifest is not UTF-8 text"]
    assert problems(write(tmp_path)) == [
        f"{tmp_path / 'clips.jsonl'}: there is no recording in this manifest"
    ]


def test_few_clips_are_taken_from_all_over_the_manifest() -> None:
    clips = tuple(clip(Path(str(number))) for number in range(10))
    assert [one.file.name for one in spread(clips, 4)] == ["0", "2", "5", "7"]
    assert spread(clips, 11) == spread(clips, None) == clips


def test_a_recording_is_decoded_whatever_its_container(tmp_path: Path) -> None:
    file = tmp_path / "egg"
    file.write_bytes(SAMPLES[0].read())
    decoded = read_audio(clip(file))
    assert not decoded.truncated
    assert len(decoded.samples) == len(SAMPLES[0].pcm()) // 2


@pytest.mark.parametrize("name", ["missing.wav", "nul\0.wav", "."])
def test_a_recording_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_audio(clip(tmp_path / name))
    assert str(raised.value).startswith(f"clips.jsonl:1: {tmp_path / name}: ")
    assert not str(raised.value).endswith(": ")


def test_a_recording_that_is_damaged_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.ogg"
    file.write_bytes(b"OggS" + bytes(100))
    with pytest.raises(ConfigError, match=r"clips.jsonl:1: .*broken.ogg: "):
        read_audio(clip(file))


def test_a_recording_of_no_known_kind_is_not_guessed_to_be_pcm(tmp_path: Path) -> None:
    file = tmp_path / "clip.raw"
    file.write_bytes(bytes(32_000))
    with pytest.raises(ConfigError, match="not a WAV, FLAC"):
        read_audio(clip(file))


def test_a_recording_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "long.wav"
    file.write_bytes(wav_bytes(bytes(2 * 16_000 * 31), 16_000))
    assert read_audio(clip(file)).truncated
    monkeypatch.setattr(manifest, "MAX_CLIP_BYTES", 1000)
    with pytest.raises(ConfigError, match="larger than 1000 bytes"):
        read_audio(clip(file))


def test_words_are_compared_after_normalisation() -> None:
    scorer = Scorer()
    said = clip(Path(), "Set a timer for 10 minutes.")
    assert scorer.score(said, "set a timer for ten minutes!") == Score(0, 6, 1, 1)
    assert scorer.score(said, "Set the timer for 10") == Score(2, 6, 0, 1)
    assert scorer.score(said, "") == Score(6, 6, 0, 1)


def test_other_languages_keep_their_own_spelling() -> None:
    said = clip(Path(), "Die Farbe ist grau", "de")
    assert Scorer().score(said, "die farbe ist GRAU.") == Score(0, 4, 1, 1)
    assert Scorer().score(clip(Path(), "colour", "de"), "color").wrong == 1


@pytest.mark.parametrize(
    ("language", "said", "heard"),
    [
        ("fr", "règle le volet à 50 pourcent", "Règle le volet à 50%."),
        ("fr", "à 50 pour cent", "à 50 %"),
        ("es", "al 100 por ciento", "Al 100%."),
        ("de", "auf 30 Prozent", "auf 30%"),
    ],
)
def test_a_percent_sign_is_the_word_for_it(language: str, said: str, heard: str) -> None:
    assert Scorer().score(clip(Path(), said, language), heard).wrong == 0


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("déverrouille la porte d'entrée", "Déverrouille la porte d\u2019entrée !", 0),
        ("quel temps fait-il", "Quel temps fait il ?", 0),
        ("l'E\u0301tage", "l'étage", 0),
        ("allumé", "allume", 1),
    ],
)
def test_apostrophes_hyphens_and_composed_accents_are_no_mistakes_but_a_missing_accent_is(
    said: str, heard: str, wrong: int
) -> None:
    assert Scorer().score(clip(Path(), said, "fr"), heard).wrong == wrong


def test_a_text_of_nothing_but_fillers_has_no_words_to_get_wrong() -> None:
    scorer = Scorer()
    assert scorer.score(clip(Path(), "Um, uh."), "hmm") == Score(0, 0, 1, 1)
    assert scorer.score(clip(Path(), "Um, uh."), "dear me") == Score(2, 0, 0, 1)


def test_scores_are_summed_per_corpus() -> None:
    one, other = clip(Path(), corpus="home"), clip(Path(), corpus="car")
    scores = [(one, Score(1, 2, 0, 1)), (other, Score(0, 3, 1, 1)), (one, Score(0, 2, 1, 1))]
    assert by_corpus(scores) == {"home": Score(1, 4, 1, 2), "car": Score(0, 3, 1, 1)}


def test_without_the_scoring_libraries_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"jiwer .*'stt-mqtt\[bench\]'"):
        Scorer()
