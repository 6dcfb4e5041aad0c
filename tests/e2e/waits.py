"""How long a busy machine keeps a program waiting."""

from __future__ import annotations

from pathlib import Path


def kept_waiting_s(*processes: int) -> float:
    """Seconds for which threads of these processes could have run and no core was free.

    Where the kernel does not count them, there are none.
    """
    tasks = [task for process in processes for task in Path(f"/proc/{process}/task").glob("*")]
    return sum(map(_waited_ns, tasks)) / 1e9


def _waited_ns(task: Path) -> int:
    try:
        _, waited, _ = (task / "schedstat").read_text().split()
    except FileNotFoundError:
        return 0
    return int(waited)
