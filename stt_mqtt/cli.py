"""The command line: `stt-mqtt COMMAND`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from stt_mqtt import __version__
from stt_mqtt.errors import EXIT_INTERNAL, MissingExtraError, SttMqttError

_COMMANDS = {
    "run": "run the service",
    "demo": "see it work: broker, service and three satellites in one process",
    "satellite": "be a microphone: find the speech, send it, show the words",
    "watch": "a live table of the devices and their last words",
    "wyoming-check": "ask a Wyoming server what it is and speak a sample to it",
    "transcribe": "transcribe audio files",
    "calibrate": "measure how little a model needs to read of each utterance",
    "bench": "measure speed, memory and words on this machine",
    "models": "list, fetch and check Whisper models",
    "check-config": "check a configuration file",
    "schema": "print the JSON schema of the configuration file",
}
_INTERRUPTED = 130
_SERVER_MODULES = frozenset({"av", "ctranslate2", "faster_whisper", "iotcore", "wyoming"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 70 internal, 75 temporary, 78 configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(arguments).parse_args(arguments)
        return int(options.run(options))
    except SttMqttError as error:
        _end_of_log()
        print(f"stt-mqtt: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in _SERVER_MODULES:
            raise
        missing = MissingExtraError(error.name, _extra_of(arguments))
        _end_of_log()
        print(f"stt-mqtt: {missing}", file=sys.stderr)
        return missing.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; what is still buffered must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        _end_of_log()
        traceback.print_exc()
        print("stt-mqtt: this is a defect of the program, please report it", file=sys.stderr)
        return EXIT_INTERNAL


def _end_of_log() -> None:
    """Have the log written before what the person at the terminal is told last."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _extra_of(arguments: Sequence[str]) -> str:
    """What has to be installed for a command."""
    return "satellite" if "satellite" in arguments[:1] else "server"


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the module of the command that is meant gets imported."""
    parser = argparse.ArgumentParser(
        prog="stt-mqtt",
        description="Speech to text for smart homes: audio in over MQTT, text out over MQTT.",
    )
    parser.add_argument("--version", action="version", version=f"stt-mqtt {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in _COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:]
        )
        if name == wanted:
            module = import_module(f"stt_mqtt.commands.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser
