"""`stt-mqtt fleet-keys`. tests/deploy/test_fleet_rights.py asks a server what the users may do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stt_mqtt.cli import main
from stt_mqtt.config import read_config
from stt_mqtt.errors import EXIT_CONFIG, EXIT_TEMPORARY
from stt_mqtt.fleet.keys import UserKey
from stt_mqtt.nodes import Role
from tools.nats_servers import NATS_SERVER, needs_nats

NODES = ["--gateway", "hall", "--worker", "cellar", "attic", "--both", "pi"]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def blocks(users: str) -> dict[str, str]:
    """The public key of each process in the file of users, by role and name."""
    return dict(re.findall(r"^    # (\w+ \S+)\n    \{\n      nkey: (\w+)$", users, re.MULTILINE))


def test_each_process_gets_a_secret_of_its_own_and_the_server_its_public_key(
    tmp_path: Path,
) -> None:
    assert main(["fleet-keys", str(tmp_path / "keys"), *NODES]) == 0
    files = contents(tmp_path / "keys")
    seeds = {name: files.pop(f"{name}.nk") for name in ("hall", "cellar", "attic", "pi")}
    assert files.keys() == {"users.conf", "nats-server.conf"}
    assert all(re.fullmatch(r"SU[A-Z2-7]{56}\n", seed) for seed in seeds.values())
    public = {name: UserKey.read(seed.strip()).public for name, seed in seeds.items()}
    assert len(set(public.values())) == 4
    assert blocks(files["users.conf"]) == {
        "gateway hall": public["hall"],
        "worker cellar": public["cellar"],
        "worker attic": public["attic"],
        "both pi": public["pi"],
    }
    for seed in seeds.values():
        assert seed.strip() not in "".join(files.values())


def test_only_their_owner_can_read_the_secrets(tmp_path: Path) -> None:
    main(["fleet-keys", str(tmp_path), *NODES])
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".nk")} == {0o600}
    assert modes["users.conf"] & 0o444 == 0o444


def test_what_it_prints_is_the_section_of_each_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fleet-keys", str(tmp_path), *NODES, "--fleet", "hotel"])
    printed = capsys.readouterr().out
    assert "SU" not in printed
    documents = [one for one in yaml.safe_load_all(printed) if one]
    fleets = [read_config(yaml.safe_dump(one), "printed", {}).fleet for one in documents]
    assert [(one.node, one.role, one.name) for one in fleets if one] == [
        ("hall", Role.GATEWAY, "hotel"),
        ("cellar", Role.WORKER, "hotel"),
        ("attic", Role.WORKER, "hotel"),
        ("pi", Role.BOTH, "hotel"),
    ]
    assert all(one and Path(str(one.nkey_file)).is_file() for one in fleets)


@needs_nats
def test_a_server_accepts_the_files_as_they_are_from_any_folder(tmp_path: Path) -> None:
    main(["fleet-keys", str(tmp_path / "keys"), *NODES])
    checked = subprocess.run(
        [str(NATS_SERVER), "-t", "--config", "keys/nats-server.conf"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_more_processes_are_added_and_all_else_stays(tmp_path: Path) -> None:
    main(["fleet-keys", str(tmp_path), *NODES])
    (tmp_path / "nats-server.conf").write_text("mine")
    before = contents(tmp_path)
    assert main(["fleet-keys", str(tmp_path), "--worker", "barn", "--worker", "shed"]) == 0
    after = contents(tmp_path)
    assert after.keys() - before.keys() == {"barn.nk", "shed.nk"}
    users = blocks(after["users.conf"])
    assert blocks(before["users.conf"]).items() < users.items()
    assert users.keys() - blocks(before["users.conf"]).keys() == {"worker barn", "worker shed"}
    for name in before.keys() - {"users.conf"}:
        assert after[name] == before[name]


@pytest.mark.parametrize("moved", [False, True])
def test_a_key_is_never_overwritten_also_if_it_was_moved_to_its_machine(
    tmp_path: Path, moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fleet-keys", str(tmp_path), *NODES])
    if moved:
        (tmp_path / "cellar.nk").unlink()
    before = contents(tmp_path)
    assert main(["fleet-keys", str(tmp_path), "--both", "cellar", "--worker", "barn"]) == (
        EXIT_CONFIG
    )
    assert f"cellar: has a key in {tmp_path}, which is not overwritten" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_two_processes_cannot_have_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--gateway", "hall", "--worker", "hall"]
    assert main(["fleet-keys", str(tmp_path / "keys"), *both]) == EXIT_CONFIG
    assert "hall: two processes cannot have one name" in capsys.readouterr().err
    assert not (tmp_path / "keys").exists()


def test_it_wants_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet-keys", str(tmp_path)]) == EXIT_CONFIG
    assert "--gateway NAME" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "ä", "x" * 33, 'a"', "a/b", "$a"])
@pytest.mark.parametrize("option", ["--worker", "--fleet"])
def test_a_name_that_means_something_else_in_a_subject_is_refused(
    tmp_path: Path, option: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fleet-keys", str(tmp_path), "--gateway", "hall", option, name])
    assert "a name has 1 to 32 of" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_users_of_another_fleet_or_changed_by_hand_stay_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fleet-keys", str(tmp_path), *NODES])
    assert main(["fleet-keys", str(tmp_path), "--worker", "barn", "--fleet", "inn"]) == EXIT_CONFIG
    assert "is not of the fleet inn" in capsys.readouterr().err
    users = tmp_path / "users.conf"
    for text in (b"mine\n", b"\xff"):
        users.write_bytes(text)
        assert main(["fleet-keys", str(tmp_path), "--worker", "barn"]) == EXIT_CONFIG
        assert f"{users} " in capsys.readouterr().err
        assert users.read_bytes() == text
        assert not (tmp_path / "barn.nk").exists()


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "keys"
    assert main(["fleet-keys", str(folder), *NODES]) in {EXIT_CONFIG, EXIT_TEMPORARY}
    assert str(folder) in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nacl.signing", None)
    assert main(["fleet-keys", str(tmp_path), *NODES]) == EXIT_CONFIG
    assert "pip install 'stt-mqtt[fleet]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
