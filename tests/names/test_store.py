from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stt_mqtt.names import store as module
from stt_mqtt.names.store import FILE, NamesStore, default_state_dir
from stt_mqtt.phrases.names import Entity, HomeNames

HOME = HomeNames(entities=(Entity("light.a", ("Kronleuchter",)),))


def test_the_names_come_back_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "stt-mqtt"
    NamesStore(folder).save(HOME)
    assert NamesStore(folder).load() == HOME
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_first_time_there_are_no_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert NamesStore(tmp_path).load() is None
    assert not caplog.records


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"[]", b'{"v":1}', b'{"Kronleuchter": [[[['])
def test_a_damaged_file_is_reported_without_its_content_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    (tmp_path / FILE).write_bytes(data)
    store = NamesStore(tmp_path)
    assert store.load() is None
    assert f"{tmp_path / FILE} is not used: " in caplog.text
    assert "Kronleuchter" not in caplog.text
    store.save(HOME)
    assert store.load() == HOME


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    NamesStore(tmp_path).save(HOME)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10)
    assert NamesStore(tmp_path).load() is None
    assert "it is larger than 10 bytes" in caplog.text


def test_where_nothing_can_be_written_one_message_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = NamesStore(tmp_path / "file")
    store.save(HOME)
    store.save(HOME)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "or name another one in STT_MQTT_STATE" in record.getMessage()


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = NamesStore(tmp_path)
    store.save(HOME)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    store.save(HomeNames())
    assert store.load() == HOME
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STT_MQTT_STATE": "/data/state", "STATE_DIRECTORY": "/x"}, "/data/state"),
        ({"STATE_DIRECTORY": "/var/lib/stt-mqtt:/var/lib/b"}, "/var/lib/stt-mqtt"),
        ({"XDG_STATE_HOME": "/home/a/.state"}, "/home/a/.state/stt-mqtt"),
        ({"HOME": "/home/a"}, "~/.local/state/stt-mqtt"),
    ],
)
def test_the_folder_is_that_of_systemd_or_of_the_user(environ: dict[str, str], folder: str) -> None:
    assert default_state_dir(environ) == Path(folder).expanduser()


def test_a_user_without_a_home_has_the_state_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert default_state_dir({}) == Path("/var/lib/stt-mqtt")
