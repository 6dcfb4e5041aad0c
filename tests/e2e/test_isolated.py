"""The installed program with `audio.isolate`: its decoder processes die, its utterances do not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from stt_mqtt.audio.encode import OpusEncoder
from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import MOSQUITTO, EmbeddedProcess, Mosquitto, eventually
from tools.program import PATIENT, Peer, running
from tools.words import words

SAMPLE = SAMPLES[0]


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    found = [(thread / "children").read_text(encoding="ascii").split() for thread in threads]
    return [int(number) for numbers in found for number in numbers]


def test_utterances_survive_their_decoder_processes(tmp_path: Path) -> None:
    broker = EmbeddedProcess(tmp_path) if MOSQUITTO is None else Mosquitto(tmp_path)
    broker.start()
    try:
        with running(tmp_path, broker, audio={"isolate": True}, limits=PATIENT) as (service, peer):
            pid = service.process.pid
            peer.publish("stt/file/utterance", SAMPLE.read())
            assert words(text_of(peer, "file")) == words(SAMPLE.text)

            (first,) = eventually(lambda: children(pid))
            peer.publish("stt/stream/audio/start", json.dumps({"codec": "opus"}))
            encoder, pcm = OpusEncoder(24), SAMPLE.pcm()
            middle = len(pcm) // 4 * 2
            peer.publish("stt/stream/audio", encoder.push(pcm[:middle]))
            for worker in eventually(lambda: children(first)):
                os.kill(worker, signal.SIGKILL)
            peer.publish("stt/stream/audio", encoder.push(pcm[middle:]) + encoder.finish())
            peer.publish("stt/stream/audio/stop")
            assert words(text_of(peer, "stream")) == words(SAMPLE.text)

            os.kill(first, signal.SIGKILL)
            eventually(lambda: "the decoder process ended (status -9)" in service.log)
            peer.publish("stt/after/utterance", SAMPLE.read())
            assert words(text_of(peer, "after")) == words(SAMPLE.text)
            (second,) = eventually(lambda: children(pid))
            assert "libavcodec" not in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
            service.process.kill()
            eventually(lambda: not Path(f"/proc/{second}").exists())
    finally:
        broker.stop()


def text_of(peer: Peer, room: str) -> str:
    (result,) = peer.json(f"stt/{room}/result")
    assert result["outcome"] == "transcript", result
    return str(result["text"])
