from __future__ import annotations

import subprocess
import sys

import pytest

CHURN = """
import ctypes, resource
from stt_mqtt.engine.memory import keep_freed_memory
KEEP = {keep}
if KEEP:
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def use():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    # In a process of its own: the setting is for good.
    program = CHURN.format(keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_kept_memory_is_used_again_without_asking_the_system() -> None:
    assert faults(keep=True) < 100 < faults(keep=False)
