"""`stt-mqtt fleet-keys`: keys for the processes of a fleet, and the users of its NATS servers."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections import Counter
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stt_mqtt.config import FleetConfig
from stt_mqtt.config.fleet import NodeName
from stt_mqtt.errors import ConfigError, OutputError
from stt_mqtt.fleet.keys import UserKey
from stt_mqtt.fleet.rights import END_OF_USERS, begin_users, server_file, user_block
from stt_mqtt.fleet.subjects import Subjects
from stt_mqtt.nodes import Role

USERS = "users.conf"
SERVER = "nats-server.conf"
PORT = 4222


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go")
    for role in Role:
        parser.add_argument(
            f"--{role}", nargs="+", action="extend", default=[], type=_name, metavar="NAME",
            help=f"processes with role: {role}",
        )  # fmt: skip
    parser.add_argument(
        "--fleet",
        type=_name,
        default=FleetConfig().name,
        metavar="NAME",
        help="name of the fleet (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the files and print a `fleet:` section for each process.

    Raises `ConfigError`, and changes nothing then, if a name has a key already.
    """
    roles = {role: getattr(options, role) for role in Role}
    nodes = [(role, node) for role, names in roles.items() for node in names]
    folder: Path = options.folder.absolute()
    users = _users(folder, options.fleet)
    _check(nodes, folder, users)
    subjects = Subjects(options.fleet)
    keys = {node: UserKey.new() for _, node in nodes}
    blocks = "".join(user_block(role, node, keys[node].public, subjects) for role, node in nodes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for node, key in keys.items():
            _write(folder / f"{node}.nk", f"{key.seed}\n", 0o600)
        _replace(folder / USERS, f"{users.removesuffix(END_OF_USERS)}{blocks}{END_OF_USERS}")
        if not (folder / SERVER).exists():
            _write(folder / SERVER, server_file(str(folder)), 0o644)
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error
    print(f"# For the NATS server: nats-server --config {folder / SERVER}")
    for role, node in nodes:
        print(_section(role, options.fleet, node, folder / f"{node}.nk"))
    return 0


def _users(folder: Path, fleet: str) -> str:
    """The file of users as it is, or a new one. Raises `ConfigError`."""
    path = folder / USERS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return begin_users(fleet)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {error}"]) from None
    if not text.endswith(END_OF_USERS):
        raise ConfigError([f"{path} was changed at its end; choose another folder"])
    if text.splitlines()[0] != begin_users(fleet).splitlines()[0]:
        raise ConfigError([f"{path} is not of the fleet {fleet}; choose another folder"])
    return text


def _check(nodes: list[tuple[Role, str]], folder: Path, users: str) -> None:
    """Raises `ConfigError` unless every name is new."""
    if not nodes:
        raise ConfigError(["name a process at least: --gateway NAME, --worker NAME, --both NAME"])
    named = Counter(node for _, node in nodes)
    problems = [f"{node}: two processes cannot have one name" for node in named if named[node] > 1]
    known = set(re.findall(r"^ {4}# \w+ (\S+)$", users, re.MULTILINE))
    for node in named:
        if node in known or (folder / f"{node}.nk").exists():
            problems.append(f"{node}: has a key in {folder}, which is not overwritten")
    if problems:
        raise ConfigError(problems)


def _write(path: Path, text: str, mode: int) -> None:
    """Write a new file, with the mode as it is, whatever the umask takes away."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as output:
        output.write(text)
        os.fchmod(file, mode)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    _write(new, text, 0o644)
    new.replace(path)


def _section(role: Role, fleet: str, node: str, key: Path) -> str:
    return "\n".join(
        [
            f"---\n# {node}: in its configuration. Move {key.name} to its machine.",
            "fleet:",
            f"  role: {role}",
            f"  name: {fleet}",
            f"  node: {node}",
            f"  servers: [nats://{socket.gethostname()}:{PORT}]",
            f"  nkey_file: {key}",
        ]
    )


def _name(text: str) -> str:
    try:
        return TypeAdapter(NodeName).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a name has 1 to 32 of A-Z a-z 0-9 _ -"
        ) from None
