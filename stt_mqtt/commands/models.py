"""`stt-mqtt models`: list, fetch and check models."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from stt_mqtt.commands.screen import open_console
from stt_mqtt.engine.catalogue import CATALOGUE, KnownModel
from stt_mqtt.engine.fetch import NETWORK, Downloads, fetch
from stt_mqtt.engine.models import Location, ModelSource, default_models_dir, locate, resolve
from stt_mqtt.errors import ModelError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    parser.set_defaults(action=None)
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    fetching = actions.add_parser("fetch", help="download a model, unless it is there and complete")
    fetching.add_argument("name", help="name of a model, such as base")
    checking = actions.add_parser("check", help="check that a model is there and complete")
    checking.add_argument("name", help="name of a model, or a folder")


def run(args: argparse.Namespace) -> int:
    """List, fetch or check. Raises ModelError and DownloadError."""
    models_dir = default_models_dir()
    if args.action == "fetch":
        print(fetch_missing(args.name, models_dir, NETWORK))
    elif args.action == "check":
        model = resolve(args.name, models_dir)
        print(f"{model.name} is complete: {model.folder}")
    elif args.json:
        print(json.dumps([asdict(row) for row in inventory(models_dir)], indent=2))
    else:
        _print_table(inventory(models_dir))
    return 0


def fetch_missing(name: str, models_dir: Path, downloads: Downloads) -> str:
    """Fetch the model unless it is there and complete; returns what was done, in words."""
    try:
        model = resolve(name, models_dir)
    except ModelError:
        model = fetch(name, models_dir, downloads)
        return f"{name} fetched: {model.folder}"
    return f"{name} is already there: {model.folder}"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the list; `source` None: not on this machine."""

    name: str
    source: ModelSource | None
    folder: str | None
    size_mb: int
    languages: str
    licence: str


def inventory(models_dir: Path) -> list[ModelRow]:
    """Every known model, and where it is. Files are not checked."""
    return [_row(model, locate(model.name, models_dir)) for model in CATALOGUE.values()]


def _row(model: KnownModel, location: Location | None) -> ModelRow:
    return ModelRow(
        name=model.name,
        source=location.source if location else None,
        folder=", ".join(str(folder) for folder in location.folders) if location else None,
        size_mb=model.size_mb,
        languages=model.languages,
        licence=model.licence,
    )


def _print_table(rows: list[ModelRow]) -> None:
    table = Table("model", "MB", "languages", "licence", "where", box=None)
    table.columns[-1].overflow = "fold"
    for row in rows:
        where = f"{row.source}: {row.folder}" if row.source else f"stt-mqtt models fetch {row.name}"
        table.add_row(row.name, str(row.size_mb), row.languages, row.licence, Text(where))
    open_console().print(table)
