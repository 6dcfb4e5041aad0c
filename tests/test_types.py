from __future__ import annotations

import pytest

from stt_mqtt.types import normalise_language


@pytest.mark.parametrize("tag", ["en", "EN", "en-US", "en_GB", " en ", "en-Latn-US"])
def test_a_language_tag_becomes_its_language_code(tag: str) -> None:
    assert normalise_language(tag) == "en"


def test_a_three_letter_code_stays() -> None:
    assert normalise_language("yue-HK") == "yue"
