"""Keys and certificates for the NATS servers, and what is said of bad ones."""

from __future__ import annotations

import ssl
from pathlib import Path

import nkeys
import pytest

from stt_mqtt.config import TlsConfig
from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import ConfigError
from stt_mqtt.fleet.identity import read_identity
from tests.fleet.keys import seed_of
from tools.brokers import Certificates

SEED = seed_of(1)
CREDENTIALS = f"""-----BEGIN NATS USER JWT-----
eyJ0.eyJq.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


def problem_of(**config: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read_identity(FleetConfig.model_validate(config))
    (problem,) = caught.value.problems
    return problem


def file_with(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text)
    return str(path)


def test_a_seed_is_the_first_word_of_its_file(tmp_path: Path) -> None:
    path = file_with(tmp_path, f"{SEED}\nUABC\n")
    identity = read_identity(FleetConfig(nkey_file=path))
    assert identity.seed == SEED
    assert identity.named
    assert identity.tls is None


def test_credentials_are_the_token_and_the_seed(tmp_path: Path) -> None:
    path = file_with(tmp_path, CREDENTIALS)
    credentials = read_identity(FleetConfig(credentials_file=path)).credentials
    assert credentials is not None
    assert "\neyJ0.eyJq.c2ln\n" in credentials
    assert f"\n{SEED}\n" in credentials


def test_no_secret_is_shown(tmp_path: Path) -> None:
    identity = read_identity(FleetConfig(nkey_file=file_with(tmp_path, SEED)))
    assert SEED not in repr(identity)


def test_without_files_there_is_no_name() -> None:
    assert not read_identity(FleetConfig()).named


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        SEED[:-1] + ("A" if SEED[-1] != "A" else "B"),
        seed_of(1, nkeys.PREFIX_BYTE_ACCOUNT),
        "SU" + "A" * 20,
        "ÄÖÜ",
    ],
    ids=["word", "typing error", "of an account", "too short", "not ASCII"],
)
def test_what_is_no_seed_of_a_user_is_refused_without_being_quoted(
    tmp_path: Path, text: str
) -> None:
    problem = problem_of(nkey_file=file_with(tmp_path, text))
    assert "fleet.nkey_file" in problem
    assert "begins with SU" in problem
    assert text not in problem


def test_an_empty_seed_file_is_refused(tmp_path: Path) -> None:
    assert "the file is empty" in problem_of(nkey_file=file_with(tmp_path, "\n"))


def test_a_seed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    assert problem_of(nkey_file=path).startswith(f"{path}: fleet.nkey_file cannot be read: No such")


def test_a_file_that_is_no_secret_is_not_read_to_its_end(tmp_path: Path) -> None:
    assert "is larger than" in problem_of(nkey_file=file_with(tmp_path, "A" * 100_000))


@pytest.mark.parametrize(
    "text", [SEED, CREDENTIALS.replace(SEED, "SUABC"), CREDENTIALS.replace("JWT", "TOKEN")]
)
def test_what_is_no_credentials_file_is_refused(tmp_path: Path, text: str) -> None:
    problem = problem_of(credentials_file=file_with(tmp_path, text))
    assert "this is not a credentials file" in problem
    assert SEED not in problem


@pytest.mark.parametrize("config", [{"tls": {}}, {"servers": ["tls://nats.lan:4222"]}])
def test_tls_is_demanded_by_the_section_and_by_an_address(config: dict[str, object]) -> None:
    tls = read_identity(FleetConfig.model_validate(config)).tls
    assert tls is not None
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_client_certificate_is_used(certificates: Certificates) -> None:
    tls = TlsConfig(
        ca_file=str(certificates.ca),
        cert_file=str(certificates.client),
        key_file=str(certificates.client_key),
    )
    context = read_identity(FleetConfig(tls=tls)).tls
    assert context is not None
    assert len(context.get_ca_certs()) == 1


def test_files_that_are_no_certificates_are_refused(
    tmp_path: Path, certificates: Certificates
) -> None:
    path = file_with(tmp_path, "hello")
    assert "is not a PEM file" in problem_of(tls={"ca_file": path})
    key_of_another = {
        "cert_file": str(certificates.client),
        "key_file": str(certificates.server_key),
    }
    assert "belong together" in problem_of(tls=key_of_another)
    assert "fleet.tls.ca_file cannot be read" in problem_of(tls={"ca_file": "/none"})
