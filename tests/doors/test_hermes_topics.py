from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.hermes.topics import (
    MAX_SESSION,
    MAX_SITE,
    SUBSCRIPTIONS,
    ActivityTopic,
    AudioFrameTopic,
    Request,
    Route,
    VoiceTopic,
    audio_captured,
    parse,
)


def matches(subscription: str, topic: str) -> bool:
    """Whether a filter with `+` takes a topic."""
    wanted, levels = subscription.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(
        want in ("+", level) for want, level in zip(wanted, levels, strict=True)
    )


@pytest.mark.parametrize(
    ("topic", "route"),
    [
        ("hermes/asr/startListening", Request.START),
        ("hermes/asr/stopListening", Request.STOP),
        ("hermes/asr/toggleOn", Request.TOGGLE_ON),
        ("hermes/asr/toggleOff", Request.TOGGLE_OFF),
        ("hermes/audioServer/kitchen/audioFrame", AudioFrameTopic("kitchen", None)),
        ("hermes/audioServer/Küche 2/audioFrame", AudioFrameTopic("Küche 2", None)),
        ("hermes/audioServer/kitchen/a-1/audioSessionFrame", AudioFrameTopic("kitchen", "a-1")),
        ("hermes/audioServer/kitchen//audioSessionFrame", AudioFrameTopic("kitchen", "")),
        ("hermes/voiceActivity/kitchen/vadUp", ActivityTopic("kitchen", VoiceTopic.UP)),
        ("hermes/voiceActivity/kitchen/vadDown", ActivityTopic("kitchen", VoiceTopic.DOWN)),
    ],
)
def test_every_topic_of_the_contract_is_known_and_subscribed_once(topic: str, route: Route) -> None:
    assert parse(topic) == route
    assert sum(matches(subscription, topic) for subscription in SUBSCRIPTIONS) == 1


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "hermes/asr/textCaptured",
        "hermes/asr/startListening/x",
        "hermes/audioServer/audioFrame",
        "hermes/audioServer//audioFrame",
        "hermes/audioServer/kitchen/a/audioFrame",
        "hermes/audioServer/kitchen/audioSessionFrame",
        "hermes/audioServer/kitchen/a/b/audioSessionFrame",
        "hermes/audioServer/kitchen/playBytes/1",
        "hermes/audioServer/kit\0chen/audioFrame",
        "hermes/audioServer/kit\nchen/audioFrame",
        "hermes/audioServer/" + "k" * (MAX_SITE + 1) + "/audioFrame",
        "hermes/audioServer/k/" + "s" * (MAX_SESSION + 1) + "/audioSessionFrame",
        "hermes/audioServer/" + "k" * 1000 + "/audioFrame",
        "hermes/voiceActivity/kitchen/vadSideways",
        "hermes/voiceActivity//vadUp",
        "hermes/voiceActivity/kitchen",
    ],
)
def test_what_is_none_of_ours_or_names_nobody_is_none(topic: str) -> None:
    assert parse(topic) is None


def test_the_longest_names_are_taken() -> None:
    site, session = "k" * MAX_SITE, "s" * MAX_SESSION
    assert parse(f"hermes/audioServer/{site}/{session}/audioSessionFrame") == AudioFrameTopic(
        site, session
    )


def test_no_two_filters_overlap() -> None:
    for first in SUBSCRIPTIONS:
        for second in SUBSCRIPTIONS:
            assert first == second or not matches(first, second.replace("+", "x"))


def test_the_audio_of_a_session_without_an_id_is_published_where_rhasspy_does() -> None:
    assert audio_captured("kitchen", "a") == "rhasspy/asr/kitchen/a/audioCaptured"
    assert audio_captured("kitchen", "") == "rhasspy/asr/kitchen/None/audioCaptured"


@given(st.text(max_size=300), st.sampled_from(["", "/audioFrame", "/audioSessionFrame", "/vadUp"]))
def test_no_topic_raises(middle: str, ending: str) -> None:
    for head in ("hermes/audioServer/", "hermes/voiceActivity/", "hermes/asr/", ""):
        parse(head + middle + ending)
