"""docs/metrics.md and the dashboard name what the service really tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from stt_mqtt.app.web import DOORS
from stt_mqtt.config import Config, read_config
from stt_mqtt.doors.web.machines import routes
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.stages import Stage
from stt_mqtt.types import DeviceState, OutcomeKind
from tests.app.test_machines import Asked
from tests.deploy.files import DEPLOY, ROOT
from tests.fleets import FLEET

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(
    (DEPLOY / "grafana" / "stt-mqtt.json").read_text(encoding="utf-8")
)
ENDINGS = {"counter": "_total", "info": "_info"}
PROMTOOL = shutil.which("promtool")


def families(fleet: FleetStatus | None = None) -> list[Metric]:
    asked = Asked()
    asked.fleet = fleet
    return list(asked.exporter.registry.collect())


def name_of(family: Metric) -> str:
    return family.name + ENDINGS.get(family.type, "")


def labels_of(family: Metric) -> list[str]:
    return sorted({label for sample in family.samples for label in sample.labels} - {"le"})


def block(mark: str) -> str:
    found = re.search(rf"<!-- file: {re.escape(mark)} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, mark
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = re.split(rf"^#+ {heading}\n", PAGE, flags=re.MULTILINE)[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def told(heading: str) -> list[tuple[list[str], str, list[str], str]]:
    """The metrics below a heading of the page."""
    found = [row for row in rows(heading) if len(row) == 4]
    return [(quoted(name), kind, quoted(labels), meaning) for name, kind, labels, meaning in found]


def real(families: list[Metric]) -> list[tuple[list[str], str, list[str], str]]:
    """The metrics as the page has to have them."""
    return [
        (
            [name_of(family)],
            "gauge" if family.type == "info" else family.type,
            labels_of(family),
            family.documentation,
        )
        for family in families
    ]


def test_the_page_has_every_metric_with_its_labels_and_meaning() -> None:
    assert told("All metrics") == real(families())


def test_the_page_has_the_metrics_of_a_fleet_apart() -> None:
    alone = {family.name for family in families()}
    of_fleet = [family for family in families(FLEET) if family.name not in alone]
    assert told("With a fleet") == real(of_fleet)
    assert len(families(FLEET)) == len(alone) + len(of_fleet)


def test_names_have_the_prefix_and_their_unit() -> None:
    for family in families(FLEET):
        assert re.fullmatch(r"stt_mqtt_[a-z]+(_[a-z]+)*", family.name)
        assert not re.search(r"_(ms|s|kb|mb|kib|mib|count|minutes)(_|$)", family.name)
        assert family.documentation.endswith(".") or "_process_" in family.name


def test_the_page_has_the_values_of_the_labels() -> None:
    values = {row[0]: quoted(row[1]) for row in rows("All metrics") if len(row) == 2}
    assert set(values["`door`"]) == set(DOORS)
    assert values["`kind`"] == [kind.value for kind in OutcomeKind]
    assert values["`state`"] == [state.value for state in DeviceState]
    labels = {label for family in families() for label in labels_of(family)}
    assert {label for cell in values for label in quoted(cell)} == labels - {"python", "version"}


def test_the_page_explains_every_stage_and_every_reason() -> None:
    (dropped,) = [family for family in families() if family.name == "stt_mqtt_dropped"]
    reasons = [sample.labels["reason"] for sample in dropped.samples]
    assert [quoted(row[0])[0] for row in rows("Reasons")] == reasons
    assert [quoted(row[0])[0] for row in rows("Stages")] == [stage.value for stage in Stage]


def test_the_page_has_the_addresses() -> None:
    named = {path for row in rows("Metrics and health") for path in quoted(row[0])}
    assert named == {"/metrics", "/healthz", "/readyz"}
    assert {route.path for route in routes(None)} == named  # type: ignore[arg-type]


def test_the_examples_are_valid() -> None:
    web = read_config(block("stt-mqtt.yaml"), "metrics.md", {}).web
    assert web.token_file is not None
    local, remote = (
        yaml.safe_load(block(name))["scrape_configs"][0]
        for name in ("prometheus.yml", "prometheus-token.yml")
    )
    port = Config().web.port
    assert local["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert remote["static_configs"][0]["targets"][0].endswith(f":{port}")
    assert remote["authorization"] == {"credentials_file": "/etc/prometheus/stt-mqtt-token"}


# The dashboard ---------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_the_dashboard_uses_only_metrics_and_labels_that_there_are() -> None:
    samples = {
        (sample.name, *sorted(sample.labels))
        for family in families(FLEET)
        for sample in family.samples
    }
    names = {name for name, *_ in samples}
    labels = {label for _, *found in samples for label in found} | {"job"}
    for expression in expressions():
        used = re.findall(r"\bstt_mqtt_\w+", expression)
        assert used
        assert set(used) <= names, expression
        by = re.findall(r"\bby \(([^)]*)\)", expression)
        matched = re.findall(r"[{,]\s*(\w+)=", expression)
        assert {name.strip() for group in by for name in group.split(",")} <= labels
        assert set(matched) <= labels
    legends = [target["legendFormat"] for panel in panels() for target in panel["targets"]]
    assert set(re.findall(r"\{\{(\w+)\}\}", " ".join(legends))) <= labels


def test_the_dashboard_shows_each_counter_as_a_rate() -> None:
    for expression in expressions():
        counters = re.findall(r"\bstt_mqtt_\w+_(?:total|bucket|sum|count)\b", expression)
        assert len(re.findall(r"\b(?:rate|increase)\(", expression)) == len(counters), expression


def test_every_panel_has_its_place_and_says_what_it_shows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in panels())
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (apt install prometheus)")
def test_prometheus_itself_takes_metrics_expressions_and_examples(tmp_path: Path) -> None:
    assert PROMTOOL is not None

    def checked(*arguments: str, text: bytes = b"") -> None:
        done = subprocess.run(
            [PROMTOOL, "check", *arguments],
            input=text,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    asked = Asked()
    asked.fleet = FLEET
    checked("metrics", text=asked.exporter.text())
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked("rules", str(file))
    example = tmp_path / "prometheus.yml"
    example.write_text(block("prometheus.yml"))
    checked("config", "--syntax-only", str(example))
