"""Checks of files and packages: folders, models, phrases, extras, secrets."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import tempfile
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from stt_mqtt.app.sample import SAMPLE_TEXT
from stt_mqtt.config import Config
from stt_mqtt.core.probe import Evidence
from stt_mqtt.doctor import disk, extras, model, phrases
from stt_mqtt.doctor.checks import secrets_of
from stt_mqtt.doctor.configuration import check_configuration
from stt_mqtt.doctor.disk import check_disk
from stt_mqtt.doctor.examination import Check, examined
from stt_mqtt.doctor.extras import check_extras
from stt_mqtt.doctor.model import Heard, check_models, check_sample, judged
from stt_mqtt.doctor.phrases import check_phrases
from stt_mqtt.doctor.report import Status
from stt_mqtt.doctor.subject import Machine, RunningService, Subject
from stt_mqtt.engine.models import Location, ModelSource
from stt_mqtt.errors import ConfigError, ModelError
from tests.doctor.subjects import SOUND, Given, machine_with, only, statuses, subject_of

HOME = {"home_assistant": {"token": "canary", "url": "http://ha.lan:8123"}, "builtin": True}
Usage = namedtuple("Usage", "total used free")


def with_models(folder: Path) -> Machine:
    return replace(SOUND, environ={"STT_MQTT_MODELS": str(folder), "STT_MQTT_STATE": "/nowhere"})


def test_folders_that_are_not_there_yet_can_be_made(tmp_path: Path) -> None:
    (finding,) = check_disk(subject_of(with_models(tmp_path / "a" / "b")))
    assert finding.status is Status.OK
    assert not list(tmp_path.iterdir())


MISSING = {"model": "small"}
"""A model that is not on this machine, and would be put into the folder."""


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    machine = with_models(tmp_path / "file" / "models")
    (finding,) = check_disk(subject_of(machine, engine=MISSING))
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert f"{tmp_path}/file/models for models cannot be written" in finding.detail
    assert "STT_MQTT_MODELS" in finding.what_to_do


def refusing(number: int) -> Callable[..., None]:
    """In place of a function that makes a file or folder."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_make_room_and_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", refusing(number))
    (finding,) = check_disk(subject_of(with_models(tmp_path), engine=MISSING))
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do == "make room there"


@pytest.mark.parametrize(
    ("number", "what_to_do"),
    [(errno.EROFS, "make it writable"), (errno.EACCES, "make it"), (errno.ENOSPC, "make room")],
)
def test_a_read_only_folder_with_its_model_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, what_to_do: str
) -> None:
    """The service does not write there."""
    (tmp_path / "small").mkdir()
    monkeypatch.setattr(tempfile, "TemporaryFile", refusing(number))
    (finding,) = check_disk(subject_of(with_models(tmp_path), engine=MISSING))
    assert finding.status is Status.WARN
    assert finding.what_to_do.startswith(what_to_do)


def test_a_model_that_packages_ship_in_parts_is_joined_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Location(ModelSource.PACKAGE, (tmp_path / "a", tmp_path / "b"))
    monkeypatch.setattr(disk, "locate", lambda *_: parts)
    monkeypatch.setattr(tempfile, "TemporaryFile", refusing(errno.EROFS))
    (finding,) = check_disk(subject_of(with_models(tmp_path)))
    assert finding.status is Status.FAIL


def test_a_folder_below_one_that_may_not_be_searched_is_a_fault_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsearchable(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("exists", "is_dir", "is_file"):
        monkeypatch.setattr(Path, name, unsearchable)
    monkeypatch.setattr(tempfile, "TemporaryFile", refusing(errno.EACCES))
    (finding,) = check_disk(subject_of(with_models(tmp_path / "m"), engine=MISSING))
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert "Permission denied" in finding.detail


def test_names_that_cannot_be_kept_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service reads them from Home Assistant after each start."""
    monkeypatch.setattr(tempfile, "TemporaryFile", refusing(errno.EACCES))
    _, names = check_disk(subject_of(with_models(tmp_path), phrases=HOME))
    assert names.status is Status.WARN
    assert names.what_to_do.endswith("STT_MQTT_STATE")


def test_the_embedded_broker_needs_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = subject_of(with_models(tmp_path), broker={"mode": "embedded"})
    (fine,) = check_disk(subject)
    assert fine.status is Status.OK
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refusing(errno.ENOSPC))
    _, finding = check_disk(subject)
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do.endswith("name another folder in TMPDIR")


def test_the_folder_of_recordings_is_looked_at_if_they_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "audio"
    kept = {"enabled": True, "folder": str(folder)}
    _, finding = check_disk(subject_of(with_models(tmp_path), keep_audio=kept))
    assert finding.status is Status.FAIL
    assert finding.detail.startswith(f"{folder} for recordings cannot be written")
    assert finding.what_to_do.endswith("name another folder in keep_audio.folder")


def test_a_disk_that_is_nearly_full_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 5_000_000))
    (finding,) = check_disk(subject_of(with_models(tmp_path)))
    assert finding.status is Status.WARN
    assert finding.detail.startswith("only 5 MB are free")


def test_the_names_of_the_home_are_checked_if_home_assistant_gives_them(tmp_path: Path) -> None:
    machine = replace(
        SOUND, environ={"STT_MQTT_MODELS": str(tmp_path), "STT_MQTT_STATE": str(tmp_path)}
    )
    (tmp_path / "names.json").write_text("{broken")
    findings = check_disk(subject_of(machine, phrases=HOME))
    assert [finding.status for finding in findings] == [Status.OK, Status.OK, Status.WARN]
    assert findings[2].what_to_do == "delete the file"


def test_what_the_configuration_asks_for_must_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without(module: str) -> object:
        return None if module in {"hassil", "zeroconf"} else find_spec(module)

    config = {"phrases": {"builtin": True}, "wyoming": {"listen": ["tcp://0.0.0.0:10300"]}}
    assert statuses(check_extras(subject_of(SOUND, None, **config)), "extras") == {Status.OK}
    monkeypatch.setattr(extras, "find_spec", without)
    vital, other = check_extras(subject_of(SOUND, None, **config))
    assert (vital.status, other.status) == (Status.FAIL, Status.WARN)
    assert vital.detail == "not installed, but needed for phrases: hassil"
    assert "stt-mqtt[phrases]" in vital.what_to_do
    # What is not asked for is not missed.
    assert statuses(check_extras(subject_of()), "extras") == {Status.OK}


@pytest.mark.parametrize("config", [{"wyoming": {"enabled": False}}, {"fleet": {"role": "worker"}}])
def test_no_service_starts_without_the_package_wyoming(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, object]
) -> None:
    def without(module: str) -> object:
        return None if module == "wyoming" else find_spec(module)

    monkeypatch.setattr(extras, "find_spec", without)
    (finding,) = check_extras(subject_of(SOUND, None, **config))
    assert finding.status is Status.FAIL
    assert finding.what_to_do == "pip install 'stt-mqtt[server]'"


def test_every_door_names_its_packages() -> None:
    config = {"broker": {"mode": "embedded"}, "phrases": HOME, "web": {"enabled": True}}
    (finding,) = check_extras(subject_of(SOUND, None, **config))
    assert finding.detail == "installed: server, phrases, web"


def test_phrase_files_are_read_and_compiled(tmp_path: Path) -> None:
    (none,) = check_phrases(subject_of())
    assert none.detail.startswith("there is no phrase book")
    (good,) = check_phrases(subject_of(phrases={"builtin": True}))
    assert "sentences in de, en compile" in good.detail
    bad = tmp_path / "bad.yaml"
    bad.write_text("language: en\nintents: {A: {data: [{sentences: ['turn on {nothing}']}]}}\n")
    with pytest.raises(ConfigError):
        check_phrases(subject_of(phrases={"paths": [str(bad)]}))


def test_sentences_in_a_language_that_no_model_speaks_are_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the start of the service."""
    compiled: list[frozenset[str]] = []
    monkeypatch.setattr(
        phrases, "compile_book", lambda _book, _config, codes: compiled.append(codes)
    )
    check_phrases(subject_of(phrases={"builtin": True}))
    assert compiled == [frozenset({"en"})]


def test_a_model_that_is_missing_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STT_MQTT_MODELS", str(tmp_path))
    subject = subject_of(engine={"model": "small"})
    (finding,) = check_models(subject)
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.detail == "model small is not on this machine"
    assert finding.what_to_do == "get it with: stt-mqtt models fetch small"
    (sample,) = check_sample(subject)
    assert (sample.status, sample.what_to_do) == (Status.FAIL, "see model")


def test_a_model_folder_that_is_missing_names_the_key() -> None:
    (finding,) = check_models(subject_of(engine={"model": "/nowhere/model"}))
    assert finding.what_to_do == "check engine.model, or the model of the rung"


def test_every_rung_is_checked_and_its_languages(tmp_path: Path) -> None:
    rungs = [{"name": "a", "model": "tiny.en"}, {"name": "b", "model": str(tmp_path)}]
    findings = check_models(
        subject_of(
            SOUND,
            None,
            ladder={"rungs": rungs},
            device_defaults={"language": "en"},
            devices={"kitchen": {"language": "fr"}},
        )
    )
    assert [(finding.name, finding.status) for finding in findings] == [
        ("model", Status.OK),
        ("model", Status.FAIL),
        ("languages", Status.WARN),
    ]
    refused = check_models(subject_of(device_defaults={"language": "fr"}))
    assert only(refused, "languages").status is Status.FAIL


def test_too_little_memory_keeps_the_model_from_being_loaded(tmp_path: Path) -> None:
    small = machine_with(tmp_path, proc_meminfo="MemAvailable: 100000 kB\n")
    (finding,) = check_sample(subject_of(small))
    assert (finding.status, finding.temporary) == (Status.FAIL, True)
    assert finding.what_to_do == "see memory"


@pytest.mark.parametrize(
    ("architecture", "cpuinfo"),
    [("x86_64", "flags\t: fpu sse2 ssse3"), ("aarch64", "Features\t: fp")],
)
def test_a_processor_that_cannot_run_the_model_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, cpuinfo: str
) -> None:
    """The first instruction that it lacks would end this program."""

    def killed(*_: object) -> frozenset[str]:
        raise AssertionError("the inference library was used")

    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(model, "supported_compute_types", killed)
    monkeypatch.setattr("stt_mqtt.engine.loading.load_rung", killed)
    (finding,) = check_sample(subject_of(machine_with(tmp_path, proc_cpuinfo=cpuinfo)))
    assert (finding.status, finding.temporary) == (Status.FAIL, False)
    assert finding.what_to_do == "see cpu"


@pytest.mark.parametrize(
    ("cause", "temporary"),
    [
        (MemoryError(), True),
        (RuntimeError("mkl_malloc: failed to allocate memory"), True),
        (RuntimeError("Unsupported model binary version"), False),
    ],
)
def test_a_model_that_memory_does_not_suffice_for_may_be_loaded_later(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, temporary: bool
) -> None:
    def no_load(*_: object) -> None:
        raise ModelError("model tiny.en cannot be used; fetch it") from cause

    monkeypatch.setattr("stt_mqtt.engine.loading.load_rung", no_load)
    (finding,) = examined([Check("sample", check_sample)], subject_of())
    assert (finding.status, finding.temporary) == (Status.FAIL, temporary)


def test_a_real_model_hears_the_right_words() -> None:
    (finding,) = check_sample(subject_of(engine={"workers": 1}))
    assert finding.status in {Status.OK, Status.WARN}
    assert "real-time factor" in finding.detail


@pytest.mark.parametrize(
    ("text", "took_s", "status", "words"),
    [
        (SAMPLE_TEXT.lower(), 0.2, Status.OK, "real-time factor 0.1"),
        (SAMPLE_TEXT, 5.0, Status.WARN, "the words are right, but"),
        (SAMPLE_TEXT, 11.0, Status.FAIL, "longer than limits.inference_timeout_s 10"),
        ("What is the feather tomorrow?", 0.2, Status.WARN, "feather"),
        ("Thank you for watching!", 0.2, Status.FAIL, "instead of"),
        ("", 0.2, Status.FAIL, "instead of"),
    ],
)
def test_wrong_and_late_words_are_found(
    monkeypatch: pytest.MonkeyPatch, text: str, took_s: float, status: Status, words: str
) -> None:
    monkeypatch.setattr(model, "sample_s", lambda: 2.0)
    finding = judged(Heard(text, took_s, 10.0))
    assert finding.status is status
    assert words in finding.detail


@pytest.mark.parametrize(
    ("evidence", "status", "words"),
    [
        (Evidence(0.0, None, SAMPLE_TEXT, 0.2), Status.OK, "the model heard"),
        (Evidence(0.0), Status.OK, "the threads are needed for speech"),
        (Evidence(0.0, "an inference thread hangs"), Status.FAIL, "an inference thread hangs"),
        (Evidence(0.0, None, "Thank you.", 0.2), Status.FAIL, "instead of"),
    ],
)
def test_the_running_service_tries_its_own_model(
    evidence: Evidence, status: Status, words: str
) -> None:
    service = RunningService(connected=True, rung="default", probe=lambda: evidence)
    (finding,) = check_sample(subject_of(SOUND, service))
    assert finding.status is status
    assert words in finding.detail


def test_a_compute_type_that_the_processor_lacks_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "supported_compute_types", lambda: frozenset({"int8"}))
    evidence = Evidence(0.0, None, SAMPLE_TEXT, 0.2)
    service = RunningService(connected=True, rung="default", probe=lambda: evidence)
    finding, _ = check_sample(subject_of(SOUND, service, engine={"compute_type": "bfloat16"}))
    assert (finding.name, finding.status) == ("cpu", Status.WARN)
    assert "does not compute with bfloat16" in finding.detail
    assert finding.what_to_do == "set compute_type to one of: int8"
    (fine,) = check_sample(subject_of(SOUND, service, engine={"compute_type": "auto"}))
    assert fine.name == "sample"


def test_files_with_secrets_must_be_readable(tmp_path: Path) -> None:
    config = {"mqtt": {"username": "a", "password_file": str(tmp_path / "none")}}
    with pytest.raises(ConfigError, match=r"mqtt\.password_file cannot be read"):
        check_configuration(subject_of(SOUND, None, **config))
    (finding,) = check_configuration(subject_of(phrases=HOME))
    assert finding.status is Status.OK


@pytest.mark.parametrize(
    ("changed", "what_to_do"),
    [
        ({"mqtt": {"host": "other.lan"}}, "restart the service"),
        ({"gate": {"aggressiveness": 3}}, "reload the configuration"),
    ],
)
def test_a_service_that_runs_with_an_old_file_is_told_so(
    changed: dict[str, object], what_to_do: str
) -> None:
    service = RunningService(connected=True, rung="default", probe=lambda: Evidence(0.0))
    source = Given(Config.model_validate(changed))
    (finding,) = check_configuration(Subject(source, Config(), SOUND, service))
    assert (finding.status, finding.what_to_do) == (Status.WARN, what_to_do)
    assert next(iter(changed)) in finding.detail


def test_all_secrets_are_known_to_the_report(tmp_path: Path) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text("canary-password\nrest\n")
    token.write_text("canary-web-of-many-letters\n")
    config = Config.model_validate(
        {
            "mqtt": {"username": "a", "password_file": str(password)},
            "phrases": HOME,
            "web": {"token_file": str(token)},
        }
    )
    environ = {
        "stt_mqtt__mqtt__password": "canary-environment",
        "SUPERVISOR_TOKEN": "canary-supervisor",
        "STT_MQTT__MQTT__PASSWORD_FILE": str(password),
        "PATH": "/bin",
    }
    assert secrets_of(config, environ) == {
        "canary-password",
        "canary",
        "canary-web-of-many-letters",
        "canary-environment",
        "canary-supervisor",
    }
    unreadable = Config.model_validate({"web": {"token_file": str(tmp_path)}})
    assert not secrets_of(unreadable, {})
