"""docs/fleet.md tells people what works."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stt_mqtt.config import FleetConfig, read_config
from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.identity import read_identity
from stt_mqtt.fleet.link import connect
from stt_mqtt.nodes import Role
from tests.deploy.files import ROOT, parsed
from tests.deploy.secured import owner
from tests.deploy.test_fleet import needs_openssl, running
from tools.brokers import free_port
from tools.nats_servers import needs_nats

PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))


def block(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, mark
    return found.group(1)


def run(folder: Path, mark: str) -> None:
    """Run a block in a folder that stands for the whole file system of all machines.

    Nothing is installed or started, `sudo` is of no need, and `ssh` to nowhere.
    """
    for line in block(f"command: {mark}").replace("\\\n", "").splitlines():
        if re.search(r"pip install|systemctl|-m venv|chown| up | /etc/systemd/", line):
            continue
        command = re.sub(r"\b(sudo|ssh pi\.local) ", "", line)
        command = re.sub(r"\S*/bin/stt-mqtt ", f"{sys.executable} -m stt_mqtt ", command)
        command = re.sub(r"(?<![\w.])/etc/", f"{folder}/etc/", command)
        command = re.sub(r" server (root|10300) ", f" server {owner()} ", command)
        done = subprocess.run(
            ["bash", "-c", f"set -eu -o pipefail; {command}"],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), command


def section(mark: str) -> FleetConfig:
    fleet = read_config(block(f"file: {mark}"), "fleet.md", {}).fleet
    assert fleet is not None
    return fleet


@needs_nats
@needs_openssl
def test_after_the_commands_for_two_machines_both_can_connect_and_no_other(tmp_path: Path) -> None:
    etc = tmp_path / "etc" / "stt-mqtt"
    run(tmp_path, "server")
    fleet, conf = etc / "fleet.nk", etc / "nats" / "nats-server.conf"
    keys = {"pi": fleet.rename(tmp_path / "pi.nk")}
    run(tmp_path, "worker")
    keys["pc"] = fleet.rename(tmp_path / "pc.nk")
    run(tmp_path, "more")
    keys |= {name: etc / "nats" / f"{name}.nk" for name in ("attic", "annex")}
    assert all(key.stat().st_mode & 0o077 == 0 for key in keys.values())
    text = conf.read_text()
    # The unit of systemd gives the server a copy of the key there.
    credential = "/run/credentials/stt-mqtt-nats.service/server.key"
    assert text.count(credential) == 1
    port = free_port()
    text = text.replace(credential, f"{etc}/nats/server.key")
    text = text.replace("listen: 0.0.0.0:4222", f"listen: 127.0.0.1:{port}")
    conf.write_text(text.replace(":8222", f":{free_port()}"))

    async def connects(key: Path | None, ca: Path) -> bool:
        config = FleetConfig(nkey_file=None if key is None else str(key), tls={"ca_file": str(ca)})
        try:
            # The certificate is for pi.local.
            identity = read_identity(config)
            assert identity.tls is not None
            identity.tls.check_hostname = False
            link = await connect(f"tls://127.0.0.1:{port}", identity, "test", "_INBOX_test")
        except FleetError:
            return False
        await link.close(5)
        return True

    ca = etc / "fleet-ca.pem"
    assert ca.read_bytes() == (etc / "nats" / "ca.pem").read_bytes()
    flags = ("--config", str(conf), "--store_dir", str(tmp_path / "data"))
    with running(tmp_path, *flags, ports={"4222": port}):
        assert all(asyncio.run(connects(key, ca)) for key in keys.values())
        assert not asyncio.run(connects(None, ca))


@needs_openssl
def test_the_commands_for_containers_make_their_keys(tmp_path: Path) -> None:
    run(tmp_path, "compose")
    etc = tmp_path / "etc" / "stt-mqtt"
    assert {path.name for path in etc.iterdir()} == {"gateway.nk", "nats", "worker.nk"}
    assert {path.name for path in (etc / "nats").iterdir()} == {
        *("ca.key", "ca.pem", "nats-server.conf", "server.key", "server.pem", "users.conf"),
    }


def test_the_sections_fit_together_and_to_the_unit() -> None:
    pi, pc, cluster = section("pi.yaml"), section("pc.yaml"), section("cluster.yaml")
    assert (pi.role, pi.node) == (Role.BOTH, "pi")
    assert (pc.role, pc.node) == (Role.WORKER, "pc")
    assert pi.servers == pc.servers
    assert pi.tls is not None
    assert pc.tls is not None
    assert pi.nkey_file == pc.nkey_file == "/run/credentials/stt-mqtt.service/fleet-key"
    assert f"/dev/stdin {pc.tls.ca_file}\n" in PAGE
    assert len(cluster.servers) == cluster.replicas == 3
    names = block("command: cluster").split()[-3:]
    assert [server.removeprefix("tls://") for server in cluster.servers] == [
        f"{name}:4222" for name in names
    ]


def keys_of_the_page() -> dict[str, str]:
    table = PAGE.split("| key of `fleet:` |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \|([^|]*)\|$", table, re.MULTILINE)
    return {key: default for keys, default in rows for key in re.findall(r"\w+", keys)}


def test_the_page_has_every_key_of_the_section_and_nothing_else() -> None:
    assert keys_of_the_page().keys() == FleetConfig.model_fields.keys()


def test_the_defaults_of_the_page_are_those_of_the_program() -> None:
    shown = {
        key: re.findall(r"[\w:/.]+", default) if key != "node" else []
        for key, default in keys_of_the_page().items()
    }
    shown["storage"], shown["replicas"] = shown["storage"][:1], shown["replicas"][1:]
    defaults = FleetConfig().model_dump(mode="json")
    assert shown == {
        key: [] if value is None else [f"{value:g}"] if isinstance(value, float)
        else [str(one) for one in (value if isinstance(value, list) else [value])]
        for key, value in defaults.items()
    }  # fmt: skip


@pytest.mark.parametrize("command", re.findall(r"bin/stt-mqtt (\S.*)$", SHELL, re.MULTILINE))
def test_the_program_understands_every_command(command: str) -> None:
    assert parsed(command).run


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"(?<![\w/.-])((?:config|deploy)/[\w./-]+\.\w+)", SHELL)
    assert len(named) >= 4
    for file in named:
        assert (ROOT / file).is_file(), file


def test_there_is_a_place_for_the_figures() -> None:
    assert PAGE.count("<!-- figures: fleet -->") == 1
