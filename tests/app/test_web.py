from __future__ import annotations

import asyncio
import builtins
import logging
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.app.machines import Machines
from stt_mqtt.app.sources import resolve_web_token
from stt_mqtt.app.web import figures, web_door
from stt_mqtt.config import WebConfig
from stt_mqtt.doors.web.door import WebDoor
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.errors import ConfigError
from stt_mqtt.observe.loop_lag import LoopLag
from tests.app.test_machines import WELL
from tests.doors.native.peers import Wire
from tests.doors.web.parts import web_parts
from tools.brokers import Certificates


def door(**web: Any) -> WebDoor | None:
    async def make() -> WebDoor | None:
        wire = Wire(web=web)
        machines = Machines(wire.service, wire.clock, LoopLag(), lambda: WELL, lambda: None)

        def parts() -> WebParts:
            return web_parts(wire, metrics=figures(wire.service, machines))

        return web_door(wire.service.config.web, parts)

    return asyncio.run(make())


def test_there_is_a_door_unless_it_is_switched_off() -> None:
    assert door() is not None
    assert door(enabled=False) is None


@pytest.mark.parametrize(
    ("library", "module"),
    [
        ("aiohttp", "stt_mqtt.doors.web.door"),
        ("prometheus_client", "stt_mqtt.observe.prometheus"),
    ],
)
def test_without_its_library_one_line_says_what_to_install_and_the_service_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, library: str, module: str
) -> None:
    real_import = builtins.__import__

    def without_it(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == library:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_it)
    with caplog.at_level(logging.INFO, logger="stt_mqtt"):
        assert door() is None
    (record,) = caplog.records
    assert "pip install 'stt-mqtt[web]'" in record.getMessage()


def test_the_token_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  0123456789abcdef \nnot this\n")
    assert resolve_web_token(WebConfig(token_file=str(file))) == "0123456789abcdef"
    assert resolve_web_token(WebConfig()) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "web.token_file cannot be read: No such file"),
        ("", "its first line is empty"),
        ("0123456789abcde", "the token is too short, at least 16"),
    ],
)
def test_a_token_that_cannot_be_used_is_a_clear_error(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        resolve_web_token(WebConfig(token_file=str(file)))
    assert str(file) in str(error.value)
    assert error.value.exit_code == 78
    assert content is None or not content or content not in str(error.value)


def test_a_certificate_that_cannot_be_used_is_a_clear_error(
    tmp_path: Path, certificates: Certificates
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "genrsa", "-aes128", "-passout", "pass:secret", "-out", locked, "2048"],
        check=True,
        capture_output=True,
    )
    good = (certificates.server, certificates.server_key)
    assert door(cert_file=str(good[0]), key_file=str(good[1])) is not None
    missing = "cannot be read: No such file"
    unfit = "web.key_file are not a certificate in PEM format and its key without a password"
    for cert, key, message in (
        (tmp_path / "missing", good[1], f"web.cert_file {missing}"),
        (good[0], tmp_path / "missing", f"web.key_file {missing}"),
        (garbage, good[1], unfit),
        (good[0], garbage, unfit),
        (good[0], locked, unfit),
        (good[0], certificates.client_key, unfit),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            door(cert_file=str(cert), key_file=str(key))
        assert error.value.exit_code == 78


def test_old_versions_of_tls_are_not_spoken(certificates: Certificates) -> None:
    made = door(cert_file=str(certificates.server), key_file=str(certificates.server_key))
    assert made is not None
    assert made._tls is not None
    assert made._tls.minimum_version == ssl.TLSVersion.TLSv1_2
