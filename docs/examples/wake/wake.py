#!/usr/bin/env python3
"""Wakes a satellite at a wake word. Reads raw audio on standard input: 16 kHz, 16 bit, mono.

Needs: pip install pyopen-wakeword paho-mqtt
"""

import argparse
import json
import os
import sys

import paho.mqtt.client as mqtt
from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

CHUNK_BYTES = 2560  # 80 ms, a step of the model
REFRACTORY_CHUNKS = 25  # 2 s: one wake word is one wake-up


def main() -> None:
    """Listen until the audio ends."""
    parser = argparse.ArgumentParser(description="Wakes a satellite at a wake word.")
    parser.add_argument("--device", required=True, help="name of the satellite in its topics")
    parser.add_argument("--host", default="localhost", help="the MQTT broker")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--word", default="okay_nabu", help="built-in word or a .tflite file")
    parser.add_argument("--threshold", type=float, default=0.5, help="higher: fewer wake-ups")
    options = parser.parse_args()

    built_in = options.word in set(Model)
    load = OpenWakeWord.from_builtin if built_in else OpenWakeWord.from_model
    detector = load(Model(options.word) if built_in else options.word)
    features = OpenWakeWordFeatures.from_builtin()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if "MQTT_USERNAME" in os.environ:
        client.username_pw_set(os.environ["MQTT_USERNAME"], os.environ.get("MQTT_PASSWORD"))
    client.on_connect = lambda *event: print("broker:", event[3], file=sys.stderr, flush=True)
    client.connect_async(options.host, options.port)
    client.loop_start()

    rest = 0
    while chunk := sys.stdin.buffer.read(CHUNK_BYTES):
        rest = max(rest - 1, 0)
        for embedding in features.process_streaming(chunk):
            for probability in detector.process_streaming(embedding):
                if probability > options.threshold and not rest:
                    rest = REFRACTORY_CHUNKS
                    # QoS 0: a wake-up that waited for the broker would come too late.
                    client.publish(
                        f"stt/{options.device}/satellite/set", json.dumps({"listen": True})
                    )
                    print(f"{options.word}: {probability:.2f}", file=sys.stderr, flush=True)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
