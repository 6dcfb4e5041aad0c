"""A Rhasspy dialogue manager and its microphones, made of the real `rhasspy-hermes` package.

Run by the tests in a virtual environment of its own, for the package pins an old paho-mqtt:
`rhasspy_dialogue.py HOST PORT`, with the sessions as JSON on standard input: a list of
`{"site", "session", "wav", "stop_on_silence"}`. Writes every message that the speech-to-text
service publishes as one line of JSON, in order, and ends when all sessions have their text and
nothing came for a moment.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from rhasspyhermes.asr import (
    AsrAudioCaptured,
    AsrError,
    AsrRecordingFinished,
    AsrStartListening,
    AsrStopListening,
    AsrTextCaptured,
    AsrToggleOff,
    AsrToggleOn,
    AsrToggleReason,
)
from rhasspyhermes.audioserver import AudioFrame
from rhasspyhermes.client import HermesClient

FRAME_SAMPLES = 256
FRAMES_AT_ONCE = 20
PAUSE_S = 0.01
TIMEOUT_S = 60.0
QUIET_S = 1.0
"""After the last text nothing else may come for so long."""


class Dialogue(HermesClient):
    """Starts sessions, and answers each text as Rhasspy's dialogue manager does."""

    def __init__(self, client: mqtt.Client) -> None:
        super().__init__("dialogue", client, loop=asyncio.get_running_loop())
        self.texts: set[str] = set()
        self.last_at = time.monotonic()
        self.subscribe(AsrTextCaptured, AsrRecordingFinished, AsrAudioCaptured, AsrError)

    async def on_message(
        self, message: Any, site_id: Any = None, session_id: Any = None, topic: Any = None
    ) -> Any:
        self.last_at = time.monotonic()
        seen: dict[str, Any] = {"type": type(message).__name__}
        if isinstance(message, AsrAudioCaptured):
            seen |= {"session": session_id, "site": site_id, "bytes": len(message.wav_bytes)}
        else:
            seen |= {"session": message.session_id, "site": message.site_id}
        if isinstance(message, AsrTextCaptured):
            seen |= {"text": message.text, "likelihood": message.likelihood}
            seen |= {"seconds": message.seconds, "wakeword": message.wakeword_id}
            yield AsrStopListening(site_id=message.site_id, session_id=message.session_id)
            yield AsrToggleOff(site_id=message.site_id, reason=AsrToggleReason.TTS_SAY)
            yield AsrToggleOn(site_id=message.site_id, reason=AsrToggleReason.TTS_SAY)
            self.texts.add(message.session_id)
        print(json.dumps(seen), flush=True)

    async def hold(self, session: dict[str, Any]) -> None:
        """One session: wake word, command, end."""
        site, id = session["site"], session["session"]
        self.publish(AsrToggleOn(site_id=site, reason=AsrToggleReason.DIALOGUE_SESSION))
        self.publish(
            AsrStartListening(
                site_id=site,
                session_id=id,
                stop_on_silence=session["stop_on_silence"],
                send_audio_captured=True,
                wakeword_id="porcupine",
            )
        )
        wav = io.BytesIO(session["recording"])
        for number, frame in enumerate(AudioFrame.iter_wav_chunked(wav, FRAME_SAMPLES)):
            self.publish(AudioFrame(wav_bytes=frame), site_id=site)
            if number % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(PAUSE_S)
        if not session["stop_on_silence"]:
            self.publish(AsrStopListening(site_id=site, session_id=id))


async def main(sessions: list[dict[str, Any]]) -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    client = mqtt.Client()
    dialogue = Dialogue(client)
    client.connect(host, port)
    client.loop_start()
    handling = asyncio.create_task(dialogue.handle_messages_async())
    await dialogue.mqtt_connected_event.wait()
    await asyncio.sleep(QUIET_S)  # The broker must have the subscriptions.
    await asyncio.gather(*(dialogue.hold(session) for session in sessions))
    deadline = time.monotonic() + TIMEOUT_S
    wanted = {session["session"] for session in sessions}
    while time.monotonic() < deadline:
        done = wanted <= dialogue.texts
        if done and time.monotonic() - dialogue.last_at > QUIET_S:
            break
        await asyncio.sleep(PAUSE_S)
    handling.cancel()
    client.loop_stop()


asked = json.load(sys.stdin)
for one in asked:
    one["recording"] = Path(one["wav"]).read_bytes()
asyncio.run(main(asked))
