"""`stt-mqtt transcribe FILE…`: runs the pipeline of the service over files."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from stt_mqtt.app.book import current_book
from stt_mqtt.audio.buffer import whole
from stt_mqtt.audio.formats import MAX_RATE, MIN_RATE
from stt_mqtt.audio.magic import TAKEN, is_file
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.commands.recording import Recording
from stt_mqtt.config import DeviceConfig
from stt_mqtt.engine.loading import load_rung, parallelism_of, preferred_rung
from stt_mqtt.engine.pipeline import Pipeline, Progress
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import (
    EXIT_CONFIG,
    EXIT_INTERNAL,
    InferenceFailedError,
    UnsupportedFormatError,
    UtteranceError,
)
from stt_mqtt.hints import Hint
from stt_mqtt.observe import logs
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
)

MAX_FILE_BYTES = 512 * 1024 * 1024
STRETCH_S = 600.0
"""Longer files are transcribed in stretches of at most this, which bounds memory."""
PROGRESS_FROM_BYTES = 2 * 1024 * 1024
"""Smaller files are done before a progress bar could be read."""


class UnreadableFileError(UtteranceError):
    """A file that cannot be read. The code is for `--json` only, it never goes over the wire."""

    code = "unreadable_file"


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of one file, or why there is none."""

    path: Path
    result: InferenceResult | None
    error: UtteranceError | None
    work_s: float

    @property
    def hint(self) -> Hint | None:
        """What looks wrong with its audio."""
        source = self.result or self.error
        return None if source is None else source.hint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--language", help="spoken language, such as en")
    parser.add_argument("--prompt", help="text that tells the model which words to expect")
    parser.add_argument(
        "--raw",
        type=sample_rate,
        metavar="RATE",
        help="read other files as raw PCM: 16 bits, mono, RATE Hz",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per file")


def sample_rate(text: str) -> int:
    """A rate in Hz that is decoded, for argparse."""
    if text.isdecimal() and len(text) <= 9 and MIN_RATE <= int(text) <= MAX_RATE:
        return int(text)
    raise argparse.ArgumentTypeError(f"{MIN_RATE} to {MAX_RATE} Hz are taken")


def run(options: argparse.Namespace) -> int:
    """Print what is said in each file; exit non-zero if one could not be transcribed."""
    config = config_source(options).load()
    logs.set_up(config.log)
    logging.getLogger(logs.ROOT).setLevel(logging.WARNING)
    book = current_book(config)
    rung = preferred_rung(config)
    transcriber = load_rung(rung, parallelism_of(config))
    recognizer = Recognizer(transcriber, VoiceDetector.load(), book)
    pipeline = Pipeline(recognizer, config.gate, STRETCH_S, rung.name, transcriber.languages)
    asked = asked_of(options, config.device_defaults)
    code = 0
    for path in options.files:
        result = transcribe_file(path, pipeline, asked, options.raw)
        code = worse(code, result)
        if options.json:
            fields = as_json(result) | ({} if book is None else phrase_as_json(result))
            print(json.dumps(fields, ensure_ascii=False), flush=True)
        else:
            _print_text(result, several=len(options.files) > 1)
    return code


def worse(code: int, result: FileResult) -> int:
    """The exit status after a file; `code`: that of the files before."""
    if isinstance(result.error, InferenceFailedError):
        return EXIT_INTERNAL
    return code if result.error is None else code or EXIT_CONFIG


def asked_of(options: argparse.Namespace, device: DeviceConfig) -> Utterance:
    """An utterance without audio, with the parameters of the options and of a device."""
    return Utterance(
        key=DeviceKey("file", ""),
        id="",
        audio=EncodedAudio(None, b""),
        language=options.language or device.language,
        prompt=options.prompt or device.prompt,
        end=EndReason.SINGLE,
        ended_at=0.0,
        languages=device.languages,
        hotwords=device.hotwords,
        phrases=device.phrases,
        area=device.area,
    )


def transcribe_file(
    path: Path, pipeline: Pipeline, asked: Utterance, raw_rate: int | None = None
) -> FileResult:
    """Transcribe a file. `asked`: the parameters; `raw_rate`: see `encoded`."""
    started = time.perf_counter()
    result, problem = None, None
    try:
        audio = encoded(_read(path), raw_rate)
        utterance = replace(asked, key=DeviceKey("file", path.name), id=path.name)
        recording = Recording(audio, utterance, STRETCH_S)
        if len(audio.data) >= PROGRESS_FROM_BYTES and sys.stderr.isatty():
            result = _with_progress(path.name, lambda tell: recording.transcribe(pipeline, tell))
        else:
            result = recording.transcribe(pipeline)
    except UtteranceError as error:
        problem = error
    return FileResult(path, result, problem, time.perf_counter() - started)


def encoded(data: bytes, raw_rate: int | None) -> EncodedAudio:
    """A file as what its first bytes say; only with `raw_rate` is anything taken for PCM.

    Raises UnsupportedFormatError.
    """
    if raw_rate is None and not is_file(data):
        raise UnsupportedFormatError(
            f"this is not a {TAKEN} file; if it is raw PCM, 16 bits and mono, use --raw RATE"
        )
    return whole(data, AudioFormat(rate=raw_rate or SAMPLE_RATE))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UnreadableFileError(f"larger than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(error.strerror or type(error).__name__) from error


def _with_progress(name: str, work: Callable[[Progress], InferenceResult]) -> InferenceResult:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeElapsedColumn(),
    )
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=1)
        return work(lambda done_s, of_s: progress.update(task, completed=done_s, total=of_s))


def as_json(result: FileResult) -> dict[str, object]:
    """The result of a file, for `--json`."""
    found, error = result.result, result.error
    transcript = None if found is None else found.transcript
    return {
        "file": str(result.path),
        "text": "" if transcript is None else transcript.text,
        "language": None if transcript is None else transcript.language,
        "confidence": None if transcript is None else round(transcript.confidence, 4),
        "no_speech_prob": None if transcript is None else round(transcript.no_speech_prob, 4),
        "audio_s": None if found is None else round(found.audio_s, 4),
        "work_s": round(result.work_s, 4),
        "error": None if error is None else {"code": error.code, "detail": error.detail},
        "hint": None if result.hint is None else result.hint.sentence,
    }


def phrase_as_json(result: FileResult) -> dict[str, object]:
    """What was heard, and the phrase of the book that it is."""
    transcript = None if result.result is None else result.result.transcript
    if transcript is None:
        return {"heard": "", "phrase": None}
    phrase = None if transcript.phrase is None else asdict(transcript.phrase)
    return {"heard": transcript.free, "phrase": phrase}


def _print_text(result: FileResult, several: bool) -> None:
    if result.error is not None:
        print(f"{result.path}: {result.error.code}: {result.error.detail}", file=sys.stderr)
        return
    if result.hint is not None:
        print(f"{result.path}: hint: {result.hint.sentence}", file=sys.stderr)
    transcript = None if result.result is None else result.result.transcript
    text = "" if transcript is None else transcript.text
    print(f"{result.path}: {text}" if several else text, flush=True)
