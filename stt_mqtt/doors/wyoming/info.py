"""What the service says of itself to a `describe`. Pure."""

from __future__ import annotations

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from stt_mqtt.types import RungStatus

PROGRAM = "stt-mqtt"

_OURS = Attribution("The stt-mqtt authors", "")
_WHISPER = Attribution("OpenAI", "https://github.com/openai/whisper")


def describe(status: RungStatus, languages: frozenset[str], version: str) -> Info:
    """One speech-to-text program with each model of the ladder.

    `languages` are codes of those that every rung speaks: what is offered stays true when the
    rung changes.
    """
    models = [
        AsrModel(
            name=model,
            attribution=_WHISPER,
            installed=True,
            description=f"Whisper {model}",
            version=None,
            languages=sorted(languages),
        )
        for model in dict.fromkeys(rung.model for rung in status.rungs)
    ]
    program = AsrProgram(
        name=PROGRAM,
        attribution=_OURS,
        installed=True,
        description="Whisper for many rooms at once",
        version=version,
        models=models,
        supports_transcript_streaming=True,
        requires_external_vad=True,
        # The model's features are relative to the loudest moment, so gain wins nothing; one that
        # moves lifts the noise in the pauses, by which the gate tells speech from silence.
        prefers_auto_gain_enabled=False,
        # Whisper was trained on noise as it is; behind a suppressor it usually hears worse.
        prefers_noise_reduction_enabled=False,
    )
    return Info(asr=[program])
