from __future__ import annotations

import pytest

from stt_mqtt.config import Config, FleetConfig, Storage, read_config
from stt_mqtt.nodes import Role
from tests.config.problems import NO_ENVIRONMENT, problems


def fleet(text: str) -> FleetConfig:
    config = read_config(f"fleet: {{{text}}}", "f", NO_ENVIRONMENT).fleet
    assert config is not None
    return config


def test_a_process_works_alone_by_default() -> None:
    assert Config().fleet is None


def test_an_empty_section_is_a_gateway_with_threads_of_its_own_on_this_machine() -> None:
    config = fleet("")
    assert config.role is Role.BOTH
    assert config.servers == ("nats://127.0.0.1:4222",)
    assert config.storage is Storage.MEMORY
    assert config.replicas == 1


@pytest.mark.parametrize(
    "server", ["nats://nats", "tls://nats.lan:4222", "nats://10.0.0.5:4222/", "nats://[::1]:4222"]
)
def test_a_server_is_a_scheme_a_host_and_a_port(server: str) -> None:
    assert fleet(f"servers: ['{server}']").servers == (server,)


@pytest.mark.parametrize(
    "server",
    [
        "nats",
        "http://nats:4222",
        "ws://nats",
        "nats://",
        "nats://nats:70000",
        "nats://nats:port",
        "nats://nats:4222/path",
        "nats://nats?tls=1",
        "nats://me:secret@nats",
    ],
)
def test_anything_else_is_refused_without_repeating_it(server: str) -> None:
    (line,) = problems(f"fleet: {{servers: ['{server}']}}")
    assert line.startswith("f:1:")
    assert "fleet.servers" in line
    assert "secret" not in line


@pytest.mark.parametrize("key", ["name", "node"])
@pytest.mark.parametrize("name", ["a.b", "a*", ">", "", "a b", "x" * 33])
def test_names_can_be_parts_of_subjects(key: str, name: str) -> None:
    (line,) = problems(f"fleet: {{{key}: '{name}'}}")
    assert f"fleet.{key}" in line


def test_a_fleet_has_a_server() -> None:
    (line,) = problems("fleet: {servers: []}")
    assert line.endswith("name at least one server")


def test_a_process_has_one_identity() -> None:
    (line,) = problems("fleet: {credentials_file: a.creds, nkey_file: b.nk}")
    assert line.endswith("give credentials_file or nkey_file, not both")


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_can_vote(replicas: int) -> None:
    (line,) = problems(f"fleet: {{replicas: {replicas}}}")
    assert line.endswith("an odd number is needed: 1, 3 or 5")
