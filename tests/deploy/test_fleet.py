"""The files of deploy/fleet, with real NATS servers."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.config import Config, FleetConfig, TlsConfig, read_config
from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.rights import server_file
from stt_mqtt.nodes import Role
from tests.deploy.files import CLOSING_S, DEPLOY, ROOT, checked_by, parsed
from tests.deploy.keyed import make_keys
from tests.deploy.secured import owner
from tests.deploy.test_containers import YAMLLINT, compose, image_environment
from tests.deploy.test_fleet_rights import job_with
from tools.brokers import OPENSSL, await_port, free_port
from tools.nats_servers import NATS_SERVER, needs_nats

FLEET = DEPLOY / "fleet"
COMPOSE = (FLEET / "compose.yaml").read_text(encoding="utf-8")
UNIT = (FLEET / "stt-mqtt-nats.service").read_text(encoding="utf-8")
FOLDER = "/etc/stt-mqtt/nats"
SERVICES = ("nats", "gateway", "worker")
ANSWER_S = 60.0

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs openssl, which is not installed")


def certificate(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the script that makes a certificate for the NATS server."""
    return subprocess.run(
        ["sh", str(DEPLOY / "certificate.sh"), str(folder), "server", owner(), *names],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@contextmanager
def running(folder: Path, *flags: str, ports: dict[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    """A nats-server with flags, which listens on all `ports`."""
    assert NATS_SERVER is not None
    log = folder / "server.log"
    with (
        log.open("ab") as output,
        subprocess.Popen([NATS_SERVER, *flags], stdout=output, stderr=output) as process,
    ):
        try:
            for port in ports.values():
                await_port(port, process, log)
            yield process
        finally:
            process.kill()


# Containers -----------------------------------------------------------------------------------


def services(**environ: str) -> dict[str, Any]:
    return dict(compose(COMPOSE, **environ)["services"])


def configured(name: str, **environ: str) -> Config:
    variables = image_environment() | services(**environ)[name]["environment"]
    return read_config("", "compose", {key: value for key, value in variables.items() if value})


def test_yamllint_has_nothing_to_say() -> None:
    checked = checked_by("yamllint", "--strict", "-d", YAMLLINT, str(FLEET / "compose.yaml"))
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_nothing_but_its_work_and_everything_has_a_bound(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert all("size=" in mount for mount in service["tmpfs"])
    assert service["logging"] == {"driver": "local"}
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service.get("ports", ()))


@pytest.mark.parametrize("role", [Role.GATEWAY, Role.WORKER])
def test_each_process_has_its_role_its_name_and_its_own_key(role: Role) -> None:
    fleet = configured(role).fleet
    assert fleet is not None
    assert (fleet.role, fleet.node, fleet.tls) == (role, str(role), None)
    assert fleet.servers == ("nats://nats:4222",)
    (secret,) = services()[role]["secrets"]
    assert fleet.nkey_file == f"/run/secrets/{secret}"
    names = {"GATEWAY": "hall", "WORKER": "cellar", "NATS": "tls://pi.local:4222"}
    elsewhere = configured(role, **names, CA_FILE="/etc/stt-mqtt/ca.pem").fleet
    assert elsewhere is not None
    assert elsewhere.node == names[role.upper()]
    assert elsewhere.servers == ("tls://pi.local:4222",)
    assert elsewhere.tls == TlsConfig(ca_file="/etc/stt-mqtt/ca.pem")
    secrets = compose(COMPOSE, **names)["secrets"]
    assert secrets[secret] == {"file": f"/etc/stt-mqtt/{elsewhere.node}.nk"}


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_a_container_is_built_and_started_from_files_that_are_there(name: str) -> None:
    service = services()[name]
    context = (FLEET / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    config = parsed(" ".join(service["command"])).config
    mounts = dict(mount.split(":")[1::-1] for mount in service["volumes"])
    assert (FLEET / mounts[str(config.parent)] / config.name).is_file()
    assert image_environment()["STT_MQTT_STATE"] in mounts
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace >= Config().service.shutdown_grace_s + CLOSING_S


@needs_nats
def test_the_container_of_nats_is_well_with_its_command_and_its_files(tmp_path: Path) -> None:
    service = services()["nats"]
    make_keys(tmp_path)
    (published,) = service["ports"]
    conf = (tmp_path / "nats-server.conf").read_text()
    ports = {published.rpartition(":")[2]: free_port()}
    (address,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", " ".join(service["healthcheck"]["test"]))
    ports[address] = free_port()
    for before, after in ports.items():
        assert conf.count(f"127.0.0.1:{before}\n") == 1
        conf = conf.replace(f"127.0.0.1:{before}\n", f"127.0.0.1:{after}\n")
    (tmp_path / "nats-server.conf").write_text(conf)
    command = [
        part.replace(FOLDER, str(tmp_path)).replace("/data", f"{tmp_path}/data")
        # Else it listens to the network.
        .replace("0.0.0.0", "127.0.0.1")
        for part in service["command"]
    ]  # fmt: skip
    with running(tmp_path, *command, ports=ports):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{ports[address]}/healthz", timeout=60
        ) as well:
            assert well.status == 200
        assert (tmp_path / "data" / "jetstream").is_dir()
    assert {mount.split(":")[1] for mount in service["volumes"]} == {FOLDER, "/data"}


# systemd --------------------------------------------------------------------------------------


def installed(folder: Path) -> Path:
    """The unit with the server that is on this machine."""
    path = folder / "stt-mqtt-nats.service"
    path.write_text(UNIT.replace("/opt/stt-mqtt/bin", str(Path(sys.executable).parent)))
    return path


def test_systemd_knows_every_directive_of_the_unit(tmp_path: Path) -> None:
    verified = checked_by("systemd-analyze", "verify", str(installed(tmp_path)))
    assert [line for line in verified.stderr.splitlines() if "stt-mqtt-nats" in line] == []


def test_the_server_is_hardly_exposed(tmp_path: Path) -> None:
    security = ["security", "--offline=true", "--no-pager", "--threshold=15"]
    rated = checked_by("systemd-analyze", *security, str(installed(tmp_path)))
    assert rated.returncode == 0, rated.stdout


def test_the_unit_starts_the_server_with_the_files_of_the_page() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    store = "${STATE_DIRECTORY}"
    assert command == (
        f"/opt/stt-mqtt/bin/nats-server --config {FOLDER}/nats-server.conf --store_dir {store}"
    )
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert "/run/credentials/stt-mqtt-nats.service/server.key" in page
    assert f"LoadCredential=server.key:{FOLDER}/server.key\n" in UNIT


# Servers --------------------------------------------------------------------------------------


def test_the_file_of_one_server_is_the_one_that_the_command_writes() -> None:
    assert (FLEET / "nats-server.conf").read_text(encoding="utf-8") == server_file(FOLDER)


@needs_nats
@needs_openssl
def test_with_its_tls_line_the_file_of_one_server_needs_no_other_change(tmp_path: Path) -> None:
    make_keys(tmp_path)
    assert certificate(tmp_path, "localhost", "127.0.0.1").returncode == 0
    conf = (tmp_path / "nats-server.conf").read_text()
    port, http = free_port(), free_port()
    conf = re.sub("^#tls", "tls", conf, flags=re.MULTILINE)
    conf = conf.replace(":4222", f":{port}").replace(":8222", f":{http}")
    (tmp_path / "nats-server.conf").write_text(conf)
    flags = ("--config", str(tmp_path / "nats-server.conf"), "--store_dir", str(tmp_path / "data"))
    with running(tmp_path, *flags, ports={"4222": port}):
        asyncio.run(uses(tmp_path, [f"tls://localhost:{port}"], replicas=1))


async def uses(folder: Path, servers: list[str], replicas: int, lose: Any = None) -> None:
    """A gateway with its key publishes a job over TLS, and another one when a server is lost."""
    config = FleetConfig(
        role=Role.GATEWAY,
        node="hall",
        servers=tuple(servers),
        nkey_file=str(folder / "hall.nk"),
        tls=TlsConfig(ca_file=str(folder / "ca.pem")),
        replicas=replicas,
    )
    connection = FleetConnection(config, "hall")
    ready = asyncio.Event()
    connection.on_ready = ready.set
    connection.on_lost = ready.clear

    async def publish(number: int) -> int | None:
        while True:
            await ready.wait()
            with suppress(FleetError):
                return await connection.publish_job(job_with(b"audio", number))

    await connection.open()
    try:
        async with asyncio.timeout(ANSWER_S):
            assert await publish(1) is not None
            if lose is not None:
                lose()
                assert await publish(2) is not None
    finally:
        await connection.close(5)


@needs_nats
@needs_openssl
def test_three_servers_with_the_file_of_the_cluster_keep_jobs_when_one_is_killed(
    tmp_path: Path,
) -> None:
    make_keys(tmp_path)
    names = [f"nats-{number}" for number in (1, 2, 3)]
    assert certificate(tmp_path, "localhost").returncode == 0
    ports = {name: (free_port(), free_port(), free_port()) for name in names}
    text = (FLEET / "nats-cluster.conf").read_text(encoding="utf-8")
    text = text.replace(FOLDER, str(tmp_path)).replace("0.0.0.0", "127.0.0.1")
    (routes,) = re.findall(r"routes: (\[.*\])", text)
    assert routes == "[tls://nats-2.local:6222, tls://nats-3.local:6222]"
    with ExitStack() as stack:
        processes = []
        for name, (port, http, cluster) in ports.items():
            others = ", ".join(
                f"tls://localhost:{ports[other][2]}" for other in names if other != name
            )
            own = text.replace("nats-1", name).replace(routes, f"[{others}]")
            own = own.replace(":4222", f":{port}").replace(":8222", f":{http}")
            own = own.replace("127.0.0.1:6222", f"127.0.0.1:{cluster}")
            (tmp_path / f"{name}.conf").write_text(own)
            flags = ("--config", str(tmp_path / f"{name}.conf"))
            store = ("--store_dir", str(tmp_path / name))
            processes.append(
                stack.enter_context(running(tmp_path, *flags, *store, ports={"4222": port}))
            )
        servers = [f"tls://localhost:{port}" for port, _, _ in ports.values()]
        asyncio.run(uses(tmp_path, servers, replicas=3, lose=processes[0].kill))
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        assert not joins(ports[names[1]][2], context), "without a certificate of the authority"
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        assert joins(ports[names[1]][2], context)


def joins(port: int, context: ssl.SSLContext) -> bool:
    """Whether a server of the cluster speaks to what connects like another one."""
    with socket.create_connection(("localhost", port), ANSWER_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


# Certificates ---------------------------------------------------------------------------------


def test_shellcheck_has_nothing_to_say_about_the_script() -> None:
    checked = checked_by("shellcheck", str(DEPLOY / "certificate.sh"))
    assert (checked.returncode, checked.stdout) == (0, "")


@needs_openssl
def test_a_new_certificate_has_the_authority_of_the_one_before(tmp_path: Path) -> None:
    assert certificate(tmp_path, "pi.local", "192.0.2.1", "::1").returncode == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.keys() == {"ca.key", "ca.pem", "server.key", "server.pem"}
    secret = {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077 == 0}
    assert secret == {"ca.key", "server.key"}
    assert certificate(tmp_path, "pi.local").returncode == 0
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in after if after[name] == before[name]} == {"ca.key", "ca.pem"}


@pytest.mark.parametrize("names", [(), ("",), ("a b",), ("a,b",), ("$(id)",)])
def test_what_is_no_name_of_a_machine_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    refused = certificate(tmp_path / "made", *names)
    assert refused.returncode == 64
    assert refused.stderr
