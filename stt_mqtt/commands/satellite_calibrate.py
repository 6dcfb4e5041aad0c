"""`stt-mqtt satellite --calibrate`: ten seconds of the room, and the settings that suit it."""

from __future__ import annotations

from rich.console import Console

from stt_mqtt.audio.activity import VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import SatelliteConfig, VadConfig
from stt_mqtt.errors import EXIT_TEMPORARY
from stt_mqtt.satellite.calibrate import PHASES, MicrophoneCalibration, Proposal, is_clipped
from stt_mqtt.satellite.reader import AudioSource


def calibrate(source: AudioSource, config: SatelliteConfig) -> int:
    """Listen, then print what to write into the configuration; exit 75 if nothing can be used.

    Raises what the source fails of.
    """
    console = open_console()
    calibration = MicrophoneCalibration()
    # What is amplified tells nothing about the room.
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
            first, *others = [mode.hear(clean) for mode in modes]
            second, third, fourth = (other.voiced for other in others)
            voiced = (first.voiced, second, third, fourth)
            calibration.hear(first.level_dbfs, voiced, is_clipped(pcm))
    finally:
        source.close()
    proposal = calibration.propose()
    _show(console, proposal)
    return 0 if proposal.usable else EXIT_TEMPORARY


def _show(console: Console, proposal: Proposal) -> None:
    speech = "" if proposal.speech_dbfs is None else f", speech {proposal.speech_dbfs:.0f} dB"
    console.print(f"\nThe room has {proposal.room_dbfs:.0f} dB{speech} (0 dB is the loudest).")
    for finding in proposal.findings:
        console.print(f"- {finding}", soft_wrap=True)
    if proposal.usable:
        console.print("\nFor the configuration file:\n")
        console.print(proposal.yaml)
