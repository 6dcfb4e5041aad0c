from __future__ import annotations

from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.engine.cgroups import (
    VERSION_2,
    cgroup_folders,
    parse_cgroup_membership,
    read_if_there,
)


def folders(root: Path, membership: str, controller: str) -> list[str]:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    found = cgroup_folders(root, controller)
    return [str(folder.relative_to(root / "sys/fs/cgroup")) for folder in found]


def test_membership_names_the_group_of_each_controller() -> None:
    text = "12:cpu,cpuacct:/docker/abc\n3:memory:/m\n0::/user.slice/a:b.scope\n"
    assert parse_cgroup_membership(text) == {
        "cpu": PurePosixPath("/docker/abc"),
        "cpuacct": PurePosixPath("/docker/abc"),
        "memory": PurePosixPath("/m"),
        "": PurePosixPath("/user.slice/a:b.scope"),
    }


@given(st.text())
def test_any_text_is_some_membership(text: str) -> None:
    assert all(str(path).startswith("/") for path in parse_cgroup_membership(text).values())


def test_the_groups_around_a_group_limit_it_too(tmp_path: Path) -> None:
    found = folders(tmp_path, "3:memory:/m\n0::/system.slice/stt.service\n", VERSION_2)
    assert found == ["system.slice/stt.service", "system.slice", "."]


def test_a_controller_of_version_1_has_a_mount_of_its_own(tmp_path: Path) -> None:
    assert folders(tmp_path, "3:memory:/m\n0::/other\n", "memory") == ["memory/m", "memory"]


def test_a_controller_that_knows_nothing_of_the_process_limits_nothing(tmp_path: Path) -> None:
    assert folders(tmp_path, "0::/mine\n", "memory") == []
    assert list(cgroup_folders(tmp_path / "nothing", VERSION_2)) == []


def test_a_path_cannot_lead_out_of_the_mount(tmp_path: Path) -> None:
    assert folders(tmp_path, "0::/../../outside\n", VERSION_2) == ["outside", "."]


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read_if_there(tmp_path) == read_if_there(tmp_path / "nothing") == ""
