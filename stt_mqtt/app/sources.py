"""Loads the configuration from the YAML file, the environment and the files with secrets."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stt_mqtt.config import (
    Config,
    MqttConfig,
    NamesFromHomeAssistantConfig,
    WebConfig,
    read_config,
)
from stt_mqtt.errors import ConfigError

_MAX_CONFIG_BYTES = 1024 * 1024
_MAX_SECRET_BYTES = 4096
_MAX_AUTHORITIES_BYTES = 1024 * 1024
_MIN_WEB_TOKEN_CHARACTERS = 16
"""A shorter token could be guessed in time, in spite of the limit on attempts."""


class ConfigLoader(Protocol):
    """The source of the configuration, at the start and at each reload."""

    def load(self) -> Config:
        """Read the configuration. Raises `ConfigError` with all problems."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """A YAML file (None: defaults) and environment variables that override it."""

    path: Path | None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def load(self) -> Config:
        """Read the configuration. Raises `ConfigError` with all problems."""
        if self.path is None:
            return read_config("", "defaults", self.environ)
        text = _read(self.path, _MAX_CONFIG_BYTES, "the configuration file")
        return read_config(text, str(self.path), self.environ)


def resolve_password(config: MqttConfig) -> str | None:
    """The password for the broker. Raises `ConfigError` if its file cannot be read."""
    if config.password is not None:
        return config.password.get_secret_value()
    if config.password_file is None:
        return None
    return _first_line(config.password_file, "mqtt.password_file")


def resolve_token(config: NamesFromHomeAssistantConfig) -> str:
    """The access token for Home Assistant. Raises `ConfigError` if it cannot be read."""
    if config.token is not None:
        return config.token.get_secret_value()
    assert config.token_file is not None
    return _first_line(config.token_file, "phrases.home_assistant.token_file").strip()


def resolve_web_token(config: WebConfig) -> str | None:
    """The token that opens the pages; None: there is none.

    Raises `ConfigError` if it cannot be read or is too short.
    """
    if config.token_file is None:
        return None
    token = _first_line(config.token_file, "web.token_file").strip()
    if len(token) < _MIN_WEB_TOKEN_CHARACTERS:
        raise ConfigError(
            [
                f"{config.token_file}: web.token_file: the token is too short, at least "
                f"{_MIN_WEB_TOKEN_CHARACTERS} characters are needed; `openssl rand -hex 16` "
                "makes one"
            ]
        )
    return token


def resolve_certificate(config: WebConfig) -> ssl.SSLContext | None:
    """The certificate for HTTPS; None: there is none. Raises `ConfigError` if it cannot be used."""
    if config.cert_file is None or config.key_file is None:
        return None
    _read(Path(config.cert_file), _MAX_AUTHORITIES_BYTES, "web.cert_file")
    _read(Path(config.key_file), _MAX_AUTHORITIES_BYTES, "web.key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without the empty password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(config.cert_file, config.key_file, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            [
                f"{config.cert_file}, {config.key_file}: web.cert_file and web.key_file are not a "
                "certificate in PEM format and its key without a password"
            ]
        ) from error
    return context


def resolve_authorities(config: NamesFromHomeAssistantConfig) -> ssl.SSLContext | None:
    """The certificate authorities of Home Assistant; None: those of the system.

    Raises `ConfigError` if their file cannot be read or has no certificates.
    """
    if config.ca_file is None:
        return None
    key = "phrases.home_assistant.ca_file"
    pem = _read(Path(config.ca_file), _MAX_AUTHORITIES_BYTES, key)
    # Not the default context: since Python 3.13 it requires an extension that private authorities
    # often lack.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Comments in the file may have any characters.
        context.load_verify_locations(cadata=pem.encode("ascii", "ignore").decode())
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            [f"{config.ca_file}: {key} is not a PEM file with certificates"]
        ) from error
    return context


def _first_line(path: str, key: str) -> str:
    """The secret in a file. Raises `ConfigError`."""
    lines = _read(Path(path), _MAX_SECRET_BYTES, key).splitlines()
    if not lines or not lines[0]:
        raise ConfigError([f"{path}: {key}: its first line is empty"])
    return lines[0]


def _read(path: Path, max_bytes: int, what: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ConfigError([f"{path}: {what} is larger than {max_bytes} bytes"])
        return data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([f"{path}: {what} cannot be read: {reason}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: {what} is not UTF-8 text"]) from error
