"""The self-check of a real service, over HTTP."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from stt_mqtt.app.sample import SAMPLE_TEXT
from tools.brokers import Broker, free_port
from tools.program import running


def post(port: int) -> Any:
    address = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(
        f"{address}/selfcheck", b"", {"Origin": address}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.loads(response.read())


def test_a_running_service_examines_itself_without_a_second_model(
    tmp_path: Path, broker: Broker
) -> None:
    port, wyoming = free_port(), free_port()
    config = {
        "web": {"port": port},
        "wyoming": {"listen": [f"tcp://127.0.0.1:{wyoming}"]},
        "mqtt": {"host": broker.host, "port": broker.port},
    }
    with running(tmp_path, broker, **config) as (service, peer):
        report = post(port)
        checks = [check for check in report["checks"] if check["name"] != "clock"]
        assert [check for check in checks if check["status"] != "ok"] == []
        details = {check["name"]: check["detail"] for check in checks}
        assert SAMPLE_TEXT in details["sample"]
        assert "a service answers" in details["service"]
        assert "the service uses" in details["memory"]
        ports = [check["detail"] for check in checks if check["name"] == "ports"]
        assert all(detail.endswith("is in use by the service") for detail in ports)
        assert len(ports) == 2
        # No outcome, no device, no second model.
        assert not peer.results()
        assert service.log.count("loading model") == 1
        assert SAMPLE_TEXT not in service.log
        peer.publish("stt/bridge/request/health_check", b"{}")
        (health,) = peer.json("stt/bridge/response/health_check")[-1:]
        assert health["data"]["devices"] == {}
