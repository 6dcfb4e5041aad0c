"""`stt-mqtt phrases`: counts, draws and checks sentences of the phrase book, and tries it out."""

from __future__ import annotations

import argparse
from pathlib import Path

from stt_mqtt.app.book import with_extra
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.errors import ConfigError

MAX_SAMPLES = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    counting = actions.add_parser("count", help="count the sentences of each intent")
    drawing = actions.add_parser("sample", help="print random sentences")
    drawing.add_argument(
        "-n", type=_number, default=10, metavar="N", help="how many sentences; default: 10"
    )
    drawing.add_argument("--intent", metavar="NAME", help="only sentences of this intent")
    drawing.add_argument("--seed", type=int, help="draw the same sentences each time")
    checking = actions.add_parser("lint", help="find mistakes and what is hardly meant")
    hearing = actions.add_parser("hear", help="show what phrases recordings may be, and why")
    hearing.add_argument("files", nargs="+", type=Path, metavar="FILE")
    hearing.add_argument("--device", metavar="NAME", help="device whose settings are used")
    hearing.add_argument("--json", action="store_true", help="print one JSON object per file")
    for action in (counting, drawing, checking, hearing):
        add_config(action)
    for action in (counting, drawing, hearing):
        action.add_argument("--language", metavar="CODE", help="only this language, such as en")


def run(options: argparse.Namespace) -> int:
    """Run an action. Raises ConfigError if the configuration or a phrase file is faulty."""
    config = config_source(options).load()
    if not config.phrases.has_book:
        raise ConfigError(
            ["there is no phrase book: set phrases.builtin: true, or phrases.paths, with -c FILE"]
        )
    with_extra()
    if options.action == "hear":
        from stt_mqtt.commands.phrases_hear import hear

        return hear(config, options)
    from stt_mqtt.commands import phrases_book

    actions = {
        "count": phrases_book.count,
        "sample": phrases_book.sample,
        "lint": phrases_book.lint,
    }
    actions[options.action](config, options)
    return 0


def _number(text: str) -> int:
    if text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= MAX_SAMPLES:
        return int(text)
    raise argparse.ArgumentTypeError(f"1 to {MAX_SAMPLES} are possible")
