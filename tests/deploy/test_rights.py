"""Who may do what, as a real Mosquitto with the files of deploy/mosquitto enforces it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from stt_mqtt.commands.overview import Overview
from stt_mqtt.config import Config
from stt_mqtt.doctor import broker as checked
from stt_mqtt.doctor import services
from stt_mqtt.doctor.broker import check_broker
from stt_mqtt.doctor.probe_topics import NOBODY, ProbeTopics
from stt_mqtt.doctor.report import Status
from tests.deploy.files import ROOT
from tests.deploy.secured import (
    FILES,
    ORACLE,
    Person,
    RefusedError,
    SecuredBroker,
    run_script,
    secured_broker,
)
from tests.doctor.subjects import SOUND, subject_of
from tools.brokers import needs_mosquitto

pytestmark = needs_mosquitto

ACL = (FILES / "acl").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SATELLITE, OTHER = "kitchen", "bedroom"
USERS = (SATELLITE, OTHER, "stt", "homeassistant", "watch", "rhasspy", ORACLE)
ODD = ("+", "#", "+/#", "kitchen/satellite", "kitchen/#", "$SYS", "/")
"""Names with which the pattern of a rule would match topics of others, if a broker allowed it."""
CELLS = {"": "", "r": "reads", "w": "writes", "rw": "reads, writes"}
OF_A_DEVICE = (
    "audio", "audio/start", "audio/stop", "audio/abort", "utterance",
    "availability", "satellite/state", "satellite/set", "set", "enabled/set",
    "result", "text", "partial", "state", "settings", "reply/answer",
)  # fmt: skip
OF_THE_SERVICE = (
    "state", "info", "health", "names", "fleet", "request/health_check", "request/reload",
    "request/rung", "request/forget", "response/health_check", "response/reload",
)  # fmt: skip
OF_HERMES = (
    "hermes/asr/startListening", "hermes/asr/stopListening", "hermes/asr/toggleOff",
    "hermes/audioServer/{}/audioFrame", "hermes/audioServer/{}/1/audioSessionFrame",
    "hermes/voiceActivity/{}/vadUp", "hermes/asr/textCaptured",
    "hermes/asr/partialTextCaptured", "hermes/error/asr", "hermes/tts/say",
    "rhasspy/asr/recordingFinished", "rhasspy/asr/{}/1/audioCaptured",
)  # fmt: skip
ELSEWHERE = (
    "homeassistant/status", "homeassistant/device/stt_mqtt_kitchen/config",
    "homeassistant/light/lamp/config", "$SYS/broker/version", "zigbee2mqtt/lamp/set",
)  # fmt: skip
Rights: TypeAlias = dict[str, dict[str, str]]
TOPICS = (
    *(f"stt/{SATELLITE}/{rest}" for rest in OF_A_DEVICE),
    *(f"stt/bridge/{rest}" for rest in OF_THE_SERVICE),
    *ELSEWHERE,
    *(topic.format(SATELLITE) for topic in OF_HERMES),
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured"), USERS, ODD) as running:
        yield running


@pytest.fixture(scope="module")
def enforced(broker: SecuredBroker) -> Rights:
    """For each user and topic, what the broker let the user do: `r`, `w`, `rw` or nothing."""
    return rights_of(broker, USERS[:-1])


def rights_of(broker: SecuredBroker, users: Sequence[str]) -> Rights:
    """What users can do who subscribe to everything and publish everywhere."""
    with ExitStack() as stack:

        def come(user: str, *filters: str) -> Person:
            person = stack.enter_context(closing(Person(broker, user)))
            person.subscribe(*filters)
            return person

        everything = {topic: b"live" for topic in TOPICS if not topic.startswith("$")}
        oracle = come(ORACLE, "#")
        early = {user: come(user, "#", "$SYS/#") for user in users}
        # One that shares a subscription gets what matches it, with its own rights.
        shared = {user: come(user, f"$share/of-{number}/#") for number, user in enumerate(users)}
        assert oracle.publish(everything, retain=True) == everything.keys()
        reads = {user: person.hears() for user, person in early.items()}
        for user in users:
            assert shared[user].hears() <= reads[user]
            assert come(user, "#", "$SYS/#").hears() == reads[user]
        oracle.publish(dict.fromkeys(everything, b""), retain=True)
        writes = {}
        for user, person in early.items():
            oracle.heard.clear()
            writes[user] = person.publish({topic: user.encode() for topic in TOPICS})
            assert oracle.hears() == writes[user]
    return {
        user: {t: "r" * (t in reads[user]) + "w" * (t in writes[user]) for t in TOPICS}
        for user in users
    }


def topic_cell(topics: list[str]) -> str:
    shown = [topic.replace(SATELLITE, "<name>") for topic in topics]
    return ", ".join(f"`{topic}`" for topic in shown)


def table_of(enforced: Rights) -> str:
    """The table of docs/security.md. Topics with the same rights share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for topic in TOPICS:
        group = "/".join(topic.split("/")[:2]) if topic.startswith("stt/") else topic.split("/")[0]
        cells = tuple(CELLS[enforced[user][topic]] for user in USERS[:-1])
        if not any(cells):
            group = "elsewhere"
        rows.setdefault((group, *cells), []).append(topic)
    lines = [
        "| topic | satellite `<name>` | another satellite | `stt` | `homeassistant` | `watch` | "
        "`rhasspy` |",
        "|---|---|---|---|---|---|---|",
    ]
    for (_, *rights), topics in rows.items():
        lines.append(f"| {' | '.join((topic_cell(topics), *rights))} |")
    return "\n".join(lines)


def test_the_table_of_the_page_is_what_the_broker_enforces(
    enforced: Rights,
) -> None:
    """If the rules have changed, take over the table that this test shows."""
    (shown,) = re.findall(r"<!-- table: rights -->\n\n(.*?)\n\n", PAGE, re.DOTALL)
    assert shown == table_of(enforced)


def test_a_satellite_speaks_only_as_itself_and_hears_only_itself(
    enforced: Rights,
) -> None:
    own = {f"stt/{SATELLITE}/{rest}" for rest in OF_A_DEVICE}
    assert {topic for topic, rights in enforced[SATELLITE].items() if rights} < own
    assert not any(enforced[OTHER].values())


def test_who_watches_changes_nothing(enforced: Rights, broker: SecuredBroker) -> None:
    assert "w" not in "".join(enforced["watch"].values())
    with_own_name = Person(broker, "watch")
    assert with_own_name.publish({"stt/watch/audio": b"x", "stt/watch/utterance": b"x"}) == set()
    with_own_name.close()


def test_the_service_may_read_what_its_code_reads_and_no_more() -> None:
    """A right to `stt/+/state` includes the state of the service."""
    config = Config()
    probed = ProbeTopics(config)
    topics = probed.native
    read = {*probed.filters, *topics.read_first, *topics.of_fleet, *Overview(topics).filters}
    read = {*(read - {topics.of_bridge("state")}), topics.of_device(NOBODY, "#")}
    assert rights_in_file("stt", "read") == read


def rights_in_file(user: str, right: str) -> set[str]:
    (section,) = re.findall(rf"^user {user}\n(.*?)(?:\n\n|\Z)", ACL, re.DOTALL | re.MULTILINE)
    return set(re.findall(rf"^topic (?:{right}|readwrite) (\S+)$", section, re.MULTILINE))


def test_the_rules_of_a_satellite_are_those_of_its_page() -> None:
    page = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"device name:\n\n```\n(.*?)```", page, re.DOTALL)
    assert set(shown.splitlines()) == set(re.findall(r"^pattern .*$", ACL, re.MULTILINE))


def test_doctor_finds_nothing_wrong_in_mqtt_3_either(
    broker: SecuredBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the broker does not say which messages it drops. tests/deploy/test_house.py has 5."""
    for module, name in ((services, "CONNECT_S"), (services, "ANSWER_S"), (checked, "ECHO_S")):
        monkeypatch.setattr(module, name, 60.0)
    login = {
        "host": broker.host,
        "port": broker.tls_port,
        "tls": {"ca_file": str(broker.ca)},
        "username": "stt",
        "password": broker.passwords["stt"],
        "protocol": "3.1.1",
    }
    findings = check_broker(subject_of(SOUND, None, mqtt=login))
    assert {finding.name for finding in findings} == {"broker", "rights", "service", "discovery"}
    assert {finding.status for finding in findings} == {Status.OK}


def test_a_satellite_of_rhasspy_sends_frames_of_its_own_site_only(tmp_path: Path) -> None:
    """With the two lines of the file that wait for it."""
    broker = SecuredBroker(tmp_path, (SATELLITE, ORACLE))
    rules = tmp_path / "broker" / "acl"
    before = rules.read_text()
    rules.write_text(re.sub(r"^#(?=pattern)", "", before, flags=re.MULTILINE))
    assert rules.read_text().count("%u") == before.count("%u")
    broker.start()
    try:
        rights = rights_of(broker, [SATELLITE])[SATELLITE]
        gained = {topic for topic, right in rights.items() if right and "hermes" in topic}
        assert gained == {
            f"hermes/audioServer/{SATELLITE}/audioFrame",
            f"hermes/audioServer/{SATELLITE}/1/audioSessionFrame",
        }
        with closing(Person(broker, SATELLITE)) as person:
            assert not person.publish({f"hermes/audioServer/{OTHER}/audioFrame": b""})
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("user", "password"), [("kitchen", "wrong"), ("kitchen", ""), ("nobody", "x"), ("", "")]
)
def test_without_the_right_password_nobody_connects(
    broker: SecuredBroker, user: str, password: str
) -> None:
    with pytest.raises(RefusedError, match="Not authorized"):
        Person(broker, user, password=password)


@pytest.mark.parametrize(
    ("version", "is_spoken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_the_broker_speaks_tls_1_2_and_later(
    broker: SecuredBroker, version: str, is_spoken: bool
) -> None:
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    address = (broker.host, broker.tls_port)
    with socket.create_connection(address, 60) as plain:
        try:
            context.wrap_socket(plain, server_hostname=broker.host).close()
        except ssl.SSLError:
            assert not is_spoken
        else:
            assert is_spoken


def test_a_last_will_cannot_speak_for_another_room(broker: SecuredBroker) -> None:
    oracle = Person(broker, ORACLE)
    oracle.subscribe("stt/#")
    with suppress(RefusedError):
        Person(broker, SATELLITE, will=f"stt/{OTHER}/availability").vanish()
    Person(broker, SATELLITE, will=f"stt/{SATELLITE}/availability").vanish()
    oracle.await_heard(f"stt/{SATELLITE}/availability")
    assert oracle.hears() == {f"stt/{SATELLITE}/availability"}
    oracle.close()


@pytest.mark.parametrize("client_id", ["+", "#", "a/+/b", "stt", "bedroom"])
def test_a_client_identifier_gives_no_rights(broker: SecuredBroker, client_id: str) -> None:
    person = Person(broker, SATELLITE, client_id=client_id)
    tried = {f"stt/{OTHER}/audio": b"x", f"stt/{client_id.replace('+', 'x')}/utterance": b"x"}
    tried = {topic: payload for topic, payload in tried.items() if "#" not in topic}
    assert person.publish(tried) == set()
    person.close()


@pytest.mark.parametrize("name", [*ODD, "bridge", "stt-mqtt-doctor", "", "a" * 65, "a:b", "a b"])
def test_no_user_gets_a_name_that_is_no_device(broker: SecuredBroker, name: str) -> None:
    passwords = broker.folder / "broker" / "passwords"
    before = passwords.read_text()
    refused = run_script("add-user.sh", name, str(passwords), check=False)
    assert refused.returncode == 64
    assert refused.stdout == ""
    assert passwords.read_text() == before


def test_mosquitto_gives_users_with_wildcards_in_their_names_nothing_and_with_a_slash_too_much(
    broker: SecuredBroker,
) -> None:
    """So no user may have such a name. Mosquitto takes a line that begins with # for a comment."""
    with pytest.raises(RefusedError):
        Person(broker, "#")
    could = rights_of(broker, [name for name in ODD if name != "#"])
    gained = {name: {t for t, right in rights.items() if right} for name, rights in could.items()}
    # 2.0.11 gives this one. A later version may give nothing.
    assert gained.pop("kitchen/satellite") <= {"stt/kitchen/satellite/state"}
    assert not any(gained.values())
