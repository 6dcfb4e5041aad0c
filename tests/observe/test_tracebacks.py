"""What a defect is reported with: everything but what its message may quote."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from stt_mqtt.cli import main
from stt_mqtt.commands import check_config
from stt_mqtt.commands.run import _report
from stt_mqtt.config import LogConfig, LogFormat, LogLevel
from stt_mqtt.errors import EXIT_INTERNAL, ConfigError
from stt_mqtt.observe import logs
from stt_mqtt.observe.tracebacks import MAX_CHAIN, without_quotes

SAID = "garage"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    def fail() -> None:
        raise error from cause

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SAID),
        ValueError(f"invalid literal for int() with base 10: {SAID!r}"),
        json.JSONDecodeError(SAID, SAID, 0),
        AssertionError(SAID),
        Exception(SAID),
        ExceptionGroup(SAID, [KeyError(SAID)]),
    ],
)
def test_a_message_that_may_quote_data_is_left_out(error: Exception) -> None:
    text = without_quotes(raised(error))
    assert SAID not in text
    assert type(error).__name__ in text
    assert "test_tracebacks.py" in text


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "/models"),
        AttributeError("'NoneType' object has no attribute 'text'"),
        RuntimeError("out of memory"),
        ConfigError(["mqtt.host: must be a name"]),
    ],
)
def test_a_message_about_code_and_files_is_shown(error: Exception) -> None:
    assert without_quotes(raised(error)).endswith(str(error))


def test_a_chain_is_shown_from_its_beginning_and_has_a_bound() -> None:
    text = without_quotes(raised(RuntimeError("later"), KeyError(SAID)))
    assert text.index("KeyError") < text.index("RuntimeError: later")
    assert SAID not in text
    error = raised(KeyError(SAID))
    for _ in range(2 * MAX_CHAIN):
        error = raised(ValueError(SAID), error)
    assert without_quotes(error).count("Traceback") == MAX_CHAIN


@pytest.mark.parametrize("format", list(LogFormat))
@pytest.mark.parametrize(("level", "is_shown"), [(LogLevel.INFO, False), (LogLevel.DEBUG, True)])
def test_the_log_quotes_only_at_the_level_that_has_words(
    capsys: pytest.CaptureFixture[str], format: LogFormat, level: LogLevel, is_shown: bool
) -> None:
    logs.set_up(LogConfig(format=format, level=level))
    logging.getLogger(logs.ROOT).error("broken", exc_info=raised(KeyError(SAID)))
    logging.captureWarnings(False)
    written = capsys.readouterr().err
    assert "KeyError" in written
    assert (SAID in written) is is_shown


def test_a_defect_in_the_event_loop_shows_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(LogConfig())

    def fail(words: str) -> None:
        raise KeyError(words)

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(_report)
        asyncio.get_running_loop().call_soon(fail, SAID)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    logging.captureWarnings(False)
    written = capsys.readouterr().err
    assert "Exception in callback" in written
    assert "please report this" in written
    assert "in fail" in written
    assert SAID not in written


def test_a_defect_of_a_command_shows_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_config: object) -> None:
        raise ValueError(f"not a password: {SAID}")

    monkeypatch.setattr(check_config, "resolve_password", fail)
    assert main(["check-config"]) == EXIT_INTERNAL
    written = capsys.readouterr().err
    assert "this is a defect of the program" in written
    assert "in fail" in written
    assert SAID not in written
