"""The command line: `stt-mqtt COMMAND`."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from stt_mqtt import __version__
from stt_mqtt.commands.output import (
    checked_output,
    complain,
    discard,
    end_of_log,
    flush_output,
)
from stt_mqtt.errors import EXIT_INTERNAL, MissingExtraError, OutputError, SttMqttError
from stt_mqtt.observe.tracebacks import without_quotes

_COMMANDS = {
    "run": "run the service",
    "demo": "show stt-mqtt at work: broker, service and three satellites in one process",
    "satellite": "detect speech at a microphone, send it, and print the words",
    "watch": "show a live table of the devices and their last words",
    "wyoming-check": "ask a Wyoming server for its description and send it a recording",
    "transcribe": "transcribe audio files",
    "phrases": "count, draw and check the sentences of the phrase book, and try it out",
    "calibrate": "measure how short the audio window of a model can be",
    "bench": "measure speed, memory and word error rate on this machine",
    "models": "list, download and check Whisper models",
    "check-config": "check a configuration file",
    "fleet-keys": "make keys for the processes of a fleet, and the users of its NATS servers",
    "doctor": "check everything that the service needs, and say what to do",
    "schema": "print the JSON schema of the configuration file",
}
_INTERRUPTED = 130
_SERVER_MODULES = frozenset({"av", "ctranslate2", "faster_whisper", "iotcore", "wyoming"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 70 internal, 75 temporary, 78 configuration."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _leave_no_core_dump()
    with checked_output():
        try:
            code = _run(arguments)
        except SystemExit:
            # The parser has printed its help or an error.
            if (failed := _guarded(_flushed)) != 0:
                return failed
            raise
        return code or _guarded(_flushed)


def _leave_no_core_dump() -> None:
    """Have the system write no core dump of this process: it would contain passwords and speech.

    Programs that this one starts inherit the limit, and may raise it again.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _run(arguments: Sequence[str]) -> int:
    def run() -> int:
        options = _parser(arguments).parse_args(arguments)
        return int(options.run(options))

    return _guarded(run, _extra_of(arguments))


def _guarded(run: Callable[[], int], extra: str = "") -> int:
    """The exit code of `run`, whatever it raises."""
    try:
        return run()
    except SttMqttError as error:
        if isinstance(error, OutputError):
            discard(sys.stdout)
        complain(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in _SERVER_MODULES:
            raise
        missing = MissingExtraError(error.name, extra)
        complain(str(missing))
        return missing.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe.
        discard(sys.stdout)
        return 0
    except Exception as error:
        end_of_log()
        print(without_quotes(error), file=sys.stderr)
        complain("this is a defect of the program, please report it")
        return EXIT_INTERNAL


def _flushed() -> int:
    flush_output()
    return 0


def _extra_of(arguments: Sequence[str]) -> str:
    """The extra that a command needs."""
    return "satellite" if "satellite" in arguments[:1] else "server"


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser. Only the module of the given command is imported."""
    parser = argparse.ArgumentParser(
        prog="stt-mqtt",
        description="Speech to text for smart homes, over MQTT, Hermes and Wyoming.",
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
