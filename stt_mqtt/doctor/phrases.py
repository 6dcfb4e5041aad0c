"""Checks that the phrase files can be read and compiled."""

from __future__ import annotations

from stt_mqtt.app.book import compile_book, kept_names, read_phrases
from stt_mqtt.app.preparation import spoken_languages
from stt_mqtt.doctor.report import Finding, ok
from stt_mqtt.doctor.subject import Subject

NAME = "phrases"


def check_phrases(subject: Subject) -> list[Finding]:
    """Read and compile the book. Raises `ConfigError` and `MissingExtraError`."""
    phrases = subject.config.phrases
    if not phrases.has_book:
        return [ok(NAME, "there is no phrase book (phrases.paths, phrases.builtin)")]
    book = read_phrases(phrases, kept_names(phrases))
    # As the service does: sentences in a language of no model are not compiled.
    compile_book(book, subject.config, spoken_languages(subject.config))
    blocks = [
        data
        for intents in book.languages.values()
        for intent in intents.intents.values()
        for data in intent.data
    ]
    sentences = sum(len(data.sentence_texts) for data in blocks)
    languages = ", ".join(sorted(book.languages))
    return [ok(NAME, f"{sentences} sentences in {languages} compile")]
