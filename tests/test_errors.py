"""The page of errors against the wire contract and the exit codes."""

from __future__ import annotations

import ssl

import pytest

from stt_mqtt import errors
from stt_mqtt.errors import (
    HomeAssistantError,
    MissingExtraError,
    SttMqttError,
    UtteranceError,
    is_old_tls,
)
from tests.doors.native.test_door import CODES


def classes() -> list[type[SttMqttError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, SttMqttError)
    ]


def test_the_codes_are_the_closed_list_of_the_contract() -> None:
    leaves = [error for error in classes() if issubclass(error, UtteranceError)]
    codes = [error.code for error in leaves if error is not UtteranceError]
    assert sorted(codes) == sorted(CODES)


def test_every_error_ends_a_command_with_one_of_three_codes() -> None:
    assert {error.exit_code for error in classes()} == {70, 75, 78}


def test_what_was_not_installed_says_how_to_install_it() -> None:
    error = MissingExtraError("av")
    assert str(error) == "av is not installed; this needs: pip install 'stt-mqtt[server]'"
    assert error.exit_code == 78
    assert str(MissingExtraError("jiwer", "bench")).endswith("pip install 'stt-mqtt[bench]'")


def test_what_home_assistant_did_not_give_has_a_reason_and_may_be_tried_again() -> None:
    error = HomeAssistantError("it is away", "away")
    assert (str(error), error.reason, error.exit_code) == ("it is away", "away", 75)


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_topics_page_knows_every_code(code: str, pytestconfig: pytest.Config) -> None:
    page = (pytestconfig.rootpath / "docs" / "topics.md").read_text(encoding="utf-8")
    assert f"`{code}`" in page


def test_a_server_that_speaks_only_old_tls_is_told_from_other_failures() -> None:
    old, other = ssl.SSLError(), ssl.SSLError()
    old.reason, other.reason = "UNSUPPORTED_PROTOCOL", "CERTIFICATE_VERIFY_FAILED"
    assert [is_old_tls(error) for error in (old, other, OSError())] == [True, False, False]
