"""`stt-mqtt satellite`: a microphone that sends speech, and only speech."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stt_mqtt.app.sources import ConfigSource, resolve_password
from stt_mqtt.audio.activity import Activity, VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.commands.options import add_config
from stt_mqtt.commands.satellite_meter import LevelMeter, MeterState
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import BrokerMode, Config, ListenMode, SatelliteConfig, VadConfig
from stt_mqtt.config.environment import PREFIX
from stt_mqtt.config.root import RESERVED_NAME
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import EXIT_TEMPORARY, ConfigError
from stt_mqtt.observe import logs
from stt_mqtt.satellite.answers import ServiceAnswer
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.microphone import MicrophoneSource, list_microphones
from stt_mqtt.satellite.microphone_calibration import (
    PHASES,
    MicrophoneCalibration,
    Proposal,
    is_clipped,
)
from stt_mqtt.satellite.on_text import TextCommand, TextCommandRunner
from stt_mqtt.satellite.program import SatelliteProgram, SatelliteSettings
from stt_mqtt.satellite.satellite import Satellite
from stt_mqtt.satellite.segmenter import ListenState
from stt_mqtt.satellite.sources import AudioSource, FileSource, StreamSource

_STATES = {
    ListenState.OFF: "playing",
    ListenState.WAITING: "waiting",
    ListenState.ACTIVE: "idle",
    ListenState.HELD: "held",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.epilog = (
        "To set login, codec and thresholds, use the sections mqtt: and satellite: of FILE, or "
        "environment variables such as STT_MQTT__MQTT__USERNAME."
    )
    add_config(parser)
    parser.add_argument(
        "--device", metavar="NAME", help="name of the satellite (default: the name of the machine)"
    )
    parser.add_argument("--host", help="name or address of the broker (default: mqtt.host)")
    parser.add_argument("--port", help="port of the broker (default: mqtt.port)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--mic",
        metavar="NAME",
        help="a microphone, by its name or a part of it (default: the default microphone)",
    )
    source.add_argument("--file", type=Path, help="a WAV or FLAC file instead of a microphone")
    source.add_argument(
        "--stdin",
        action="store_true",
        help="16-bit mono PCM at 16 kHz from standard input, for example from arecord",
    )
    source.add_argument("--list-devices", action="store_true", help="list the microphones and exit")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="with --file or --stdin: read as fast as the answers come",
    )
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in ListenMode],
        help="when to listen (default: satellite.mode)",
    )
    parser.add_argument(
        "--on-text",
        metavar="COMMAND",
        help="command to run for each transcript, such as 'notify-send {text}'",
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="record for ten seconds and propose settings"
    )


def run(options: argparse.Namespace) -> int:
    """Listen until Ctrl-C, or until the recording ends and was answered."""
    if options.list_devices:
        return _list_devices(open_console())
    if options.fast and options.file is None and not options.stdin:
        raise ConfigError(["--fast: a microphone has its own time; use it with --file or --stdin"])
    config = _load(options)
    logs.set_up(config.log)
    if options.calibrate:
        return _calibrate(_open_source(options, config.satellite), config.satellite)
    return _listen(config, options)


def _listen(config: Config, options: argparse.Namespace) -> int:
    satellite = config.satellite
    command = None if satellite.on_text is None else TextCommand(satellite.on_text)
    settings = SatelliteSettings(
        config=satellite,
        topics=SatelliteTopics(Topics(config.mqtt.base_topic), satellite.device or machine_name()),
        mqtt=reachable(config.mqtt, config.broker),
        password=resolve_password(config.mqtt),
        recording=options.file is not None,
        fast=options.fast,
    )
    meter = LevelMeter(open_console())
    for handler in logging.getLogger().handlers:
        handler.addFilter(meter.give_way)
    display = TerminalDisplay(
        meter, satellite, None if command is None else TextCommandRunner(command)
    )
    program = SatelliteProgram(settings, lambda: _open_source(options, satellite), display)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: program.stop())
    if satellite.mode is ListenMode.PUSH_TO_TALK and sys.stdin.isatty():
        print("Press Enter to start listening, and Enter again to stop.", file=sys.stderr)
        threading.Thread(target=_press_on_enter, args=(program,), daemon=True).start()
    try:
        answered = program.run()
    finally:
        display.close()
    return 0 if answered else EXIT_TEMPORARY


class TerminalDisplay:
    """Shows levels and answers on the terminal, and runs the command for each transcript."""

    def __init__(
        self, meter: LevelMeter, config: SatelliteConfig, on_text: TextCommandRunner | None
    ) -> None:
        self._meter = meter
        self._begin_db = config.vad.begin_db
        self._on_text = on_text

    def level(self, activity: Activity, satellite: Satellite, now: float) -> None:
        """A frame was processed."""
        self._meter.show(
            MeterState(
                level_dbfs=activity.level_dbfs,
                floor_dbfs=activity.floor_dbfs,
                begin_db=self._begin_db,
                state=_state_of(satellite),
                spooled=0 if satellite.online else satellite.uplink.waiting,
                dropped=satellite.uplink.dropped,
                connected=satellite.online,
            ),
            now,
        )

    def answer(self, answer: ServiceAnswer) -> None:
        """An answer came in."""
        self._meter.tell(answer)
        if self._on_text is not None and answer.act_until is not None:
            self._on_text.push(answer.text, answer.act_until)

    def close(self) -> None:
        """Remove the meter, and wait a few seconds for the command."""
        self._meter.close()
        if self._on_text is not None:
            self._on_text.close()


def machine_name() -> str:
    """The name of this machine, with what a topic level cannot hold replaced."""
    host = socket.gethostname().split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", host)[:64] or "satellite"
    return f"{name}-satellite" if name == RESERVED_NAME else name


def _state_of(satellite: Satellite) -> str:
    if satellite.speaking:
        return "speech"
    return "muted" if satellite.policy.muted else _STATES[satellite.listen_state]


def _load(options: argparse.Namespace) -> Config:
    """The configuration. The command line overrides it as the environment does."""
    command = {
        "--device": ("SATELLITE__DEVICE", options.device),
        "--mode": ("SATELLITE__MODE", options.mode),
        "--on-text": ("SATELLITE__ON_TEXT", options.on_text),
        "--mic": ("SATELLITE__MICROPHONE", options.mic),
        "--host": ("MQTT__HOST", options.host),
        "--port": ("MQTT__PORT", options.port),
    }
    given = {
        f"{PREFIX}{key}": (option, value)
        for option, (key, value) in command.items()
        if value is not None
    }
    environ = {**os.environ, **{key: value for key, (_, value) in given.items()}}
    if options.host is not None:
        environ[f"{PREFIX}BROKER__MODE"] = BrokerMode.EXTERNAL.value
    try:
        return ConfigSource(options.config, environ).load()
    except ConfigError as error:
        problems = error.problems
        for key, (option, _) in given.items():
            problems = [problem.replace(f"environment {key}", option) for problem in problems]
        raise ConfigError(problems) from None


def _open_source(options: argparse.Namespace, config: SatelliteConfig) -> AudioSource:
    if options.file is not None:
        return FileSource(options.file, real_time=not options.fast)
    if options.stdin:
        return StreamSource(sys.stdin.buffer)
    return MicrophoneSource(config.microphone)


def _press_on_enter(program: SatelliteProgram) -> None:
    for _ in sys.stdin:
        program.press()


def _calibrate(source: AudioSource, config: SatelliteConfig) -> int:
    """Listen, then print settings for the configuration; exit 75 if the audio is unusable.

    Raises the failure of the source.
    """
    console = open_console()
    calibration = MicrophoneCalibration()
    # Automatic gain would hide the level of the room.
    cleanup = Cleanup(config.cleanup.model_copy(update={"auto_gain": False}))
    modes = [VoiceActivity(VadConfig(aggressiveness=mode)) for mode in range(4)]
    phase = None
    try:
        for pcm in source.frames():
            if calibration.phase != phase:
                phase = calibration.phase
                if phase is None:
                    break
                console.print(PHASES[phase].request, soft_wrap=True)
            clean = cleanup.process(pcm)
            first, *others = [mode.process(clean) for mode in modes]
            second, third, fourth = (other.voiced for other in others)
            voiced = (first.voiced, second, third, fourth)
            calibration.push(first.level_dbfs, voiced, is_clipped(pcm))
    finally:
        source.close()
    proposal = calibration.propose()
    _show_proposal(console, proposal)
    return 0 if proposal.usable else EXIT_TEMPORARY


def _show_proposal(console: Console, proposal: Proposal) -> None:
    speech = "" if proposal.speech_dbfs is None else f", speech {proposal.speech_dbfs:.0f} dB"
    console.print(f"\nThe room has {proposal.room_dbfs:.0f} dB{speech} (0 dB is the loudest).")
    for finding in proposal.findings:
        console.print(f"- {finding}", soft_wrap=True)
    if proposal.usable:
        console.print("\nFor the configuration file:\n")
        console.print(proposal.yaml)


def _list_devices(console: Console) -> int:
    microphones = list_microphones()
    if not microphones:
        console.print("There is no microphone; plug one in, or look at `arecord -l`.")
        return EXIT_TEMPORARY
    table = Table("microphone", "channels", "Hz", "")
    for microphone in microphones:
        default = "default" if microphone.default else ""
        table.add_row(microphone.name, str(microphone.channels), f"{microphone.rate:g}", default)
    console.print(table)
    return 0
