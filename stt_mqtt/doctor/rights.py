"""Judges which rights the user of the service lacks, by what the broker took and sent back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stt_mqtt.config import Protocol
from stt_mqtt.doctor.probe_topics import HOME_ASSISTANT, NATIVE, NOBODY, ProbeTopics
from stt_mqtt.doctor.report import Finding, fail, ok, warn

RIGHTS = "rights"
READ, WRITE = "read", "write"
GIVE = "give the user of the service the right to {} it (acl_file of Mosquitto)"
NO_ANSWER = "no answer"
LOOK = "look at the log of the broker"


@dataclass(frozen=True, slots=True)
class Echoes:
    """The answers of the broker by filter and by topic (None: accepted).

    `unanswered`: topics without an answer. `came_back`: those whose message was received.
    """

    subscribed: Mapping[str, str | None]
    written: Mapping[str, str | None]
    unanswered: set[str]
    came_back: set[str]

    def is_written(self, topic: str) -> bool:
        """Whether the broker took a message to this topic, as far as it says."""
        return self.written.get(topic, NO_ANSWER) is None


def judged_rights(topics: ProbeTopics, echoes: Echoes, protocol: str) -> list[Finding]:
    """What is missing, or that nothing is. `protocol`: the MQTT version of the connection."""
    findings = [
        *_reading(topics, echoes),
        *_writing(topics, echoes, silent=protocol != Protocol.V5.value),
    ]
    base = topics.native.base
    return findings or [ok(RIGHTS, f"it may read what the service reads, and write below {base}/")]


def _reading(topics: ProbeTopics, echoes: Echoes) -> Iterator[Finding]:
    """Mosquitto accepts subscriptions without the right to read: the messages do not come."""
    for name, door in topics.filters.items():
        if name not in echoes.subscribed:
            detail = f"the broker does not answer the subscription to {name}"
            yield fail(RIGHTS, detail, LOOK, temporary=True)
            return
        refusal = echoes.subscribed[name]
        if refusal is not None:
            yield _lacking(door, f"the broker refuses the subscription to {name} ({refusal})", READ)
    for topic in (topics.request, topics.heard):
        if echoes.is_written(topic) and topic not in echoes.came_back:
            detail = f"a message to {topic} does not come back, as if the user may not read it"
            yield _lacking(NATIVE, detail, READ)


def _writing(topics: ProbeTopics, echoes: Echoes, silent: bool) -> Iterator[Finding]:
    """`silent`: the broker accepts without a word what the user may not write."""
    if echoes.unanswered:
        detail = f"the broker does not answer a message to {min(echoes.unanswered)}"
        yield fail(RIGHTS, detail, LOOK, temporary=True)
        return
    refused = {
        topic: str(refusal) for topic, refusal in echoes.written.items() if refusal is not None
    }
    if silent:
        refused |= {
            topic: "it does not come back, unless it may not be read"
            for topic in topics.said
            if topic not in echoes.came_back
        }
    for topic in topics.said:
        if topic in refused:
            detail = f"the broker does not take a message to {topic} ({refused[topic]})"
            # If both are refused, texts and results are refused, too.
            certain = not silent and all(other in refused for other in topics.said)
            yield (fail if certain else warn)(RIGHTS, detail, GIVE.format(WRITE))
    if topics.request in refused:
        yield warn(
            RIGHTS,
            f"the broker does not take a message to {topics.request} ({refused[topics.request]}): "
            "the service cannot find another one on its base topic, and starts 3 s later",
            GIVE.format(WRITE),
        )
    discovery = topics.discovery(NOBODY)
    if discovery in refused:
        detail = f"the broker does not take a message to {discovery} ({refused[discovery]})"
        yield _lacking(HOME_ASSISTANT, detail, WRITE)


def _lacking(door: str, detail: str, right: str) -> Finding:
    """A right that a door lacks. All doors but the native one can be switched off."""
    if door == NATIVE:
        return fail(RIGHTS, detail, GIVE.format(right))
    return warn(RIGHTS, detail, f"{GIVE.format(right)}, or set {door}.enabled: false")
