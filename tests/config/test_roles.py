from __future__ import annotations

import pytest

from stt_mqtt.config import Config


@pytest.mark.parametrize(
    ("fleet", "has_model", "has_doors"),
    [
        (None, True, True),
        ({"role": "both"}, True, True),
        ({"role": "gateway"}, False, True),
        ({"role": "worker"}, True, False),
    ],
)
def test_a_role_has_a_model_or_doors_or_both(
    fleet: dict[str, str] | None, has_model: bool, has_doors: bool
) -> None:
    config = Config.model_validate({"fleet": fleet})
    assert (config.has_model, config.has_doors) == (has_model, has_doors)
