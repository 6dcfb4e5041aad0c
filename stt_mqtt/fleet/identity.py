"""Who this process is for the NATS servers, and which servers it trusts: keys and certificates."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import nkeys
from nats.aio.client import RawCredentials

from stt_mqtt.config import TlsConfig
from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import ConfigError

_MAX_SECRET_BYTES = 64 * 1024
_MAX_CERTIFICATES_BYTES = 1024 * 1024
_CREDENTIALS = re.compile(
    r"-+BEGIN NATS USER JWT-+\s+(?P<jwt>[\w.=-]+)\s+-+END NATS USER JWT-+"
    r".*-+BEGIN USER NKEY SEED-+\s+(?P<seed>\w+)\s+-+END USER NKEY SEED-+",
    re.DOTALL,
)
_MAKE_SEED = "`stt-mqtt fleet-keys` or `nk -gen user` makes one"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a connection needs to log in. Nothing of it is shown.

    `seed`: of an NKey. `credentials`: a JWT and its seed. At most one of the two is there.
    `tls`: whom to trust; speak to no server without TLS. None: as the server likes, and then the
    authorities of the system are trusted.
    """

    tls: ssl.SSLContext | None = field(default=None, repr=False)
    seed: str | None = field(default=None, repr=False)
    credentials: RawCredentials | None = field(default=None, repr=False)

    @property
    def named(self) -> bool:
        """Whether there is a key to log in with."""
        return self.seed is not None or self.credentials is not None


def read_identity(config: FleetConfig) -> Identity:
    """Read the files that the section names. Raises `ConfigError` if one cannot be used."""
    tls = config.tls
    demands_tls = tls is not None or any(url.startswith("tls://") for url in config.servers)
    # To read the authorities of the system takes time.
    context = _tls_context(tls or TlsConfig()) if demands_tls else None
    if config.nkey_file is not None:
        return Identity(context, seed=_seed_in(config.nkey_file))
    if config.credentials_file is not None:
        credentials = _credentials_in(config.credentials_file)
        return Identity(context, credentials=credentials)
    return Identity(context)


def _seed_in(path: str) -> str:
    key = "fleet.nkey_file"
    # `nk` writes the public key below the seed.
    lines = _read(path, key, _MAX_SECRET_BYTES).split()
    if not lines:
        raise ConfigError([f"{path}: {key}: the file is empty; {_MAKE_SEED}"])
    if not _is_seed_of_a_user(lines[0]):
        raise ConfigError(
            [
                f"{path}: {key}: its first word is not the NKey seed of a user, which begins with "
                f"SU; {_MAKE_SEED}"
            ]
        )
    return lines[0]


def _credentials_in(path: str) -> RawCredentials:
    key = "fleet.credentials_file"
    found = _CREDENTIALS.search(_read(path, key, _MAX_SECRET_BYTES))
    if found is None or not _is_seed_of_a_user(found["seed"]):
        raise ConfigError(
            [
                f"{path}: {key}: this is not a credentials file, with the JWT of a user and its "
                "NKey seed; `nsc generate creds` makes one"
            ]
        )
    return RawCredentials(
        f"-----BEGIN NATS USER JWT-----\n{found['jwt']}\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{found['seed']}\n------END USER NKEY SEED------\n"
    )


def _is_seed_of_a_user(text: str) -> bool:
    try:
        prefix, raw = nkeys.decode_seed(text.encode())
        # The library does not compare the checksum, so a typing error would pass.
        again: bytes = nkeys.encode_seed(raw, prefix)
    except (nkeys.NkeysError, ValueError):
        return False
    return bool(prefix == nkeys.PREFIX_BYTE_USER) and again == text.encode()


def _tls_context(config: TlsConfig) -> ssl.SSLContext:
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(config, key)
        if path is not None:
            _read(path, f"fleet.tls.{key}", _MAX_CERTIFICATES_BYTES)
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(
            [f"{config.ca_file}: fleet.tls.ca_file is not a PEM file with certificates"]
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.ca_file is not None:
        # Private certificate authorities often lack an extension that Python 3.13 requires.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if config.cert_file is not None:
        try:
            # With an empty password OpenSSL does not ask on the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except (OSError, ValueError) as error:
            raise ConfigError(
                [
                    f"{config.cert_file}: fleet.tls.cert_file and its key cannot be used: the two "
                    "must be PEM, belong together, and the key must not be encrypted"
                ]
            ) from error
    return context


def _read(path: str, key: str, max_bytes: int) -> str:
    """The text of a file. Raises ConfigError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([f"{path}: {key} cannot be read: {reason}"]) from error
    if len(data) > max_bytes:
        raise ConfigError([f"{path}: {key} is larger than {max_bytes} bytes"])
    return data.decode("ascii", "replace")
