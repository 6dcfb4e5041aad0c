from __future__ import annotations

import pytest

from stt_mqtt.config import WebConfig, read_config
from tests.config.problems import NO_ENVIRONMENT, problems


def web(text: str) -> WebConfig:
    return read_config(f"web: {{{text}}}", "f", NO_ENVIRONMENT).web


def test_the_pages_are_on_by_default_for_this_machine_alone() -> None:
    config = web("")
    assert config.enabled
    assert config.is_loopback
    assert config.url == "http://127.0.0.1:10380/"
    assert not config.show_text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_an_address_of_this_machine_alone_needs_no_token(host: str) -> None:
    assert web(f"host: '{host}'").is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "2001:db8::5"])
def test_other_machines_are_let_in_only_with_a_token_or_by_ingress(host: str) -> None:
    (line,) = problems(f"web: {{host: '{host}'}}")
    assert line.startswith("f:1:6: web: ")
    for hint in ("web.token_file", "openssl rand -hex 16", "web.ingress: true"):
        assert hint in line
    for guard in ("token_file: /etc/token", "ingress: true", "enabled: false"):
        assert not web(f"host: '{host}', {guard}").is_loopback


@pytest.mark.parametrize("host", ["localhost", "stt.lan", "", "http://127.0.0.1", "127.0.0.1:80"])
def test_the_host_is_an_ip_address(host: str) -> None:
    (line,) = problems(f"web: {{host: '{host}'}}")
    assert "web.host" in line


@pytest.mark.parametrize("key", ["cert_file", "key_file"])
def test_a_certificate_and_its_key_need_each_other(key: str) -> None:
    (line,) = problems(f"web: {{{key}: a.pem}}")
    assert line.endswith("cert_file and key_file need each other")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("host: '0.0.0.0', token_file: t", "http://127.0.0.1:10380/"),
        ("host: '::', token_file: t, port: 80", "http://[::1]:80/"),
        ("host: '192.168.1.5', token_file: t", "http://192.168.1.5:10380/"),
        ("cert_file: c, key_file: k", "https://127.0.0.1:10380/"),
    ],
)
def test_the_address_of_the_pages_is_one_that_this_machine_can_open(text: str, url: str) -> None:
    assert web(text).url == url


def test_rooms_are_names_and_globs() -> None:
    assert web("rooms: [tablet, 'phone_*', 'wall[12]']").rooms == ("tablet", "phone_*", "wall[12]")
    assert web("rooms: []").rooms == ()
    (line,) = problems("web: {rooms: [a/b]}")
    assert "web.rooms" in line
    assert "a room is a device name" in line
