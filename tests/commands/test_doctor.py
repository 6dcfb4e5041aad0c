from __future__ import annotations

import json
import subprocess
import sys

HANGING = """
import sys, threading
from stt_mqtt.cli import main
from stt_mqtt.doctor import diagnosis
from stt_mqtt.doctor.examination import Check
from stt_mqtt.doctor.report import ok

def hang(subject):
    # Nothing waits for a daemon, but the interpreter waits for this one.
    thread = threading.Thread(target=threading.Event().wait)
    thread.start()
    thread.join()

diagnosis.CHECKS = (Check("slow", hang, timeout_s=0.2), Check("fine", lambda _: [ok("fine", "")]))
sys.exit(main(["doctor", "--json"]))
"""

BARE = """
import importlib.util, sys
from importlib.abc import MetaPathFinder
GONE = {
    "aiohttp", "av", "ctranslate2", "faster_whisper", "hassil", "huggingface_hub", "iotcore",
    "prometheus_client", "rapidfuzz", "tokenizers", "wyoming", "zeroconf",
}
find_spec = importlib.util.find_spec

class Gone(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
importlib.util.find_spec = lambda name: None if name in GONE else find_spec(name)
from stt_mqtt.cli import main
sys.exit(main(["doctor", "--json"]))
"""


def test_without_any_extra_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 78, done.stderr
    checks = json.loads(done.stdout)["checks"]
    missing = next(check for check in checks if check["name"] == "extras")
    assert missing["detail"] == ("not installed, but needed for transcription: av, ctranslate2")
    assert missing["what_to_do"] == "pip install 'stt-mqtt[server]'"
    assert {"clock", "disk", "broker", "ports"} <= {check["name"] for check in checks}


def test_a_check_that_hangs_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 75, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert [(check["name"], check["status"]) for check in checks] == [
        ("slow", "fail"),
        ("fine", "ok"),
    ]
