"""What each process of a fleet may do on the NATS servers, and their configuration that says so.

Everything that is not here is forbidden. The table of docs/fleet.md shows the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.fleet.subjects import CONSUMER, Subjects
from stt_mqtt.nodes import Role

ANY_NUMBER = -1
END_OF_USERS = "  ]\n}\n"
"""The last lines of the file of users. `user_block` goes before it."""

_API = "$JS.API"


@dataclass(frozen=True, slots=True)
class Answers:
    """How often a process may answer a message that came to it, and for how long."""

    most: int
    expire_s: int


@dataclass(frozen=True, slots=True)
class Rights:
    """The subjects that a process may publish to, and those that it may subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: Answers


def rights_of(role: Role, node: str, subjects: Subjects) -> Rights:
    """The least that a process of the fleet needs. `node`: its name."""
    if role is Role.BOTH:
        gateway, worker = _gateway(node, subjects), _worker(node, subjects)
        return Rights(
            tuple(dict.fromkeys(gateway.publish + worker.publish)),
            tuple(dict.fromkeys(gateway.subscribe + worker.subscribe)),
            worker.answers,
        )
    return (_gateway if role is Role.GATEWAY else _worker)(node, subjects)


def begin_users(fleet: str) -> str:
    """The file of users, without any."""
    return (
        f"# The processes of the fleet {fleet} and their rights. stt-mqtt fleet-keys wrote it.\n"
        "# To shut a process out, delete its block. Then: nats-server --signal reload\n"
        f"authorization {{\n  users = [\n{END_OF_USERS}"
    )


def user_block(role: Role, node: str, public_key: str, subjects: Subjects) -> str:
    """A process in the file of users."""
    rights = rights_of(role, node, subjects)
    answers = rights.answers
    return "\n".join(
        [
            f"    # {role} {node}",
            "    {",
            f"      nkey: {public_key}",
            "      permissions: {",
            f"        publish: {{ allow: [\n{_lines(rights.publish)}        ] }}",
            f"        subscribe: {{ allow: [\n{_lines(rights.subscribe)}        ] }}",
            f'        allow_responses: {{ max: {answers.most}, expires: "{answers.expire_s}s" }}',
            "      }",
            "    }",
            "",
        ]
    )


def server_file(folder: str) -> str:
    """The configuration of a single NATS server. `folder`: absolute, with the file of users."""
    return f"""\
# One NATS server for a fleet of stt-mqtt. docs/fleet.md explains it.
server_name: nats
# This machine only. For others: 0.0.0.0, and TLS. Without TLS, others on the network hear speech.
listen: 127.0.0.1:4222
#tls: {{cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", min_version: "1.2"}}
# Says whether the server is well: /healthz
http: 127.0.0.1:8222
jetstream: {{max_memory_store: 256MB, max_file_store: 1GB}}
include "users.conf"
"""


def _gateway(node: str, subjects: Subjects) -> Rights:
    jobs, audio, gateways = subjects.jobs, subjects.audio, subjects.gateway_stream
    return Rights(
        publish=(
            subjects.job,
            # Its own jobs have its name before their number.
            subjects.audio_part(node, ">"),
            subjects.gateway_entry(node),
            subjects.names(node),
            *(
                f"{_API}.STREAM.{verb}.{stream}"
                for stream in (jobs, audio, gateways)
                for verb in ("INFO", "CREATE", "UPDATE")
            ),
            f"{_API}.CONSUMER.INFO.{jobs}.{CONSUMER}",
            f"{_API}.CONSUMER.CREATE.{jobs}.{CONSUMER}",
            f"{_API}.STREAM.MSG.GET.{jobs}",
            f"{_API}.STREAM.MSG.DELETE.{jobs}",
            f"{_API}.STREAM.PURGE.{audio}",
            f"{_API}.STREAM.MSG.GET.{gateways}",
        ),
        subscribe=(
            _inbox(node),
            subjects.result(node),
            subjects.workers,
            subjects.gateway_entry("*"),
            subjects.failures,
        ),
        answers=Answers(most=1, expire_s=10),
    )


def _worker(node: str, subjects: Subjects) -> Rights:
    jobs, audio = subjects.jobs, subjects.audio
    return Rights(
        publish=(
            subjects.worker(node),
            subjects.result("*"),
            f"{_API}.CONSUMER.INFO.{jobs}.{CONSUMER}",
            f"{_API}.CONSUMER.MSG.NEXT.{jobs}.{CONSUMER}",
            f"{_API}.STREAM.MSG.GET.{audio}",
        ),
        subscribe=(
            _inbox(node),
            subjects.workers,
            subjects.names("*"),
        ),
        # A job is a message to answer. So a worker finishes only what it was given.
        answers=Answers(most=ANY_NUMBER, expire_s=3600),
    )


def _inbox(node: str) -> str:
    return f"_INBOX_{node}.>"


def _lines(subjects: tuple[str, ...]) -> str:
    return "".join(f'          "{subject}"\n' for subject in subjects)
