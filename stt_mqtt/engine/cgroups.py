"""Where the kernel says what this process may use: its control groups, of either version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

VERSION_2 = ""
"""Stands where version 1 has the name of a controller."""
_MOUNTS = {VERSION_2: ("",), "cpu": ("cpu", "cpu,cpuacct"), "memory": ("memory",)}


def parse_cgroup_membership(text: str) -> dict[str, PurePosixPath]:
    """The process's cgroup by controller, from `/proc/self/cgroup`; version 2 is under `""`."""
    membership: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if hierarchy.isdigit() and colon and path.startswith("/"):
            for controller in controllers.split(","):
                membership[controller] = PurePosixPath(path)
    return membership


def cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders that may limit this process, of its group and the groups around it.

    `controller` is `VERSION_2`, or `cpu` or `memory` of version 1; `root` is the folder that
    holds `proc` and `sys`. The folders need not exist.
    """
    group = parse_cgroup_membership(read_if_there(root / "proc/self/cgroup")).get(controller)
    if group is None:
        return
    # A container may see its own group mounted as the root although the kernel names the whole
    # path, so each level is tried, down to the mount itself. `..` leads out of the namespace.
    steps = [step for step in group.parts[1:] if step != ".."]
    for mount in _MOUNTS[controller]:
        for depth in range(len(steps), -1, -1):
            yield (root / "sys/fs/cgroup" / mount).joinpath(*steps[:depth])


def read_if_there(file: Path) -> str:
    """The text of a file of the kernel's; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
