"""Whether a time server sets the clock of this machine, as far as the system says."""

from __future__ import annotations

import ctypes
from pathlib import Path

_MARK = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes this file when it has set the clock."""
_TIMEX_BYTES = 256
"""More than `struct timex` of any Linux (208 bytes)."""
_UNSYNCHRONISED = 5
"""TIME_ERROR: no program has told the kernel that the clock is right."""


def is_synchronised() -> bool | None:
    """Whether the kernel takes the clock for right. None: the system does not say."""
    if _MARK.exists():
        return True
    # All zeros: nothing is changed, the state is returned.
    request = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None).adjtimex(request)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED
