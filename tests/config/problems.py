"""Reading text that may or must fail, for the tests of the configuration."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stt_mqtt.config import Config, read_config
from stt_mqtt.errors import ConfigError

NO_ENVIRONMENT: Mapping[str, str] = {}


def problems(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT) -> list[str]:
    """The lines of the ConfigError that `text`, as file `f`, must raise."""
    with pytest.raises(ConfigError) as caught:
        read_config(text, "f", environ)
    assert caught.value.__context__ is None, "a chained error can show values in a traceback"
    return caught.value.problems


def attempt(text: str, environ: Mapping[str, str] = NO_ENVIRONMENT) -> Config | list[str]:
    """The configuration, or the lines of the ConfigError; any other exception is a failure."""
    try:
        return read_config(text, "f", environ)
    except ConfigError as error:
        return error.problems
