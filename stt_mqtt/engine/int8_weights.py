"""Gives CTranslate2 the weights of a model as int8, one after the other.

CTranslate2 can do that itself, but it reads all 16-bit weights before it converts the first, and
holds the largest in 32 bits: 175 MB with tiny.en, whose int8 weights take 39 MB. The arithmetic
here is the same: `x * (127 / largest)` of each row, rounded half to even.
"""

from __future__ import annotations

import logging
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.models import WEIGHTS

log = logging.getLogger(__name__)

VERSIONS = (5, 6)
"""Versions of the binary format in which CTranslate2 rounds as here."""
_INT8 = 1
_FLOATS: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 4: np.dtype("<f2")}
"""The types of weights that are converted, by their number in the format."""
_FLOAT32 = 0
_BLOCK = 1 << 20
"""Values that are converted at once: 4 MB in 32 bits."""
_MAX_INT8 = np.float32(127)


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable in the file: its name, shape, type, and the place of its values."""

    name: bytes
    shape: tuple[int, ...]
    type: int
    start: int
    size: int

    @property
    def becomes_int8(self) -> bool:
        """Whether CTranslate2 would convert it. The weights of convolutions stay floats."""
        return self.name.endswith(b"weight") and len(self.shape) == 2 and self.type in _FLOATS


@contextmanager
def weights_folder(folder: Path, compute_type: str) -> Iterator[Path]:
    """A folder from which CTranslate2 can load the model in `folder` with little memory.

    It is `folder` itself without int8, if the format of the file is unknown, without Linux, or if
    there is no room for temporary files. CTranslate2 then says what is wrong with a faulty file.
    """
    with ExitStack() as stack:
        prepared = None
        try:
            if compute_type.startswith("int8"):
                prepared = _prepared(folder, stack)
        except (OSError, ValueError, struct.error) as error:
            log.info("the weights are not converted before they are loaded: %s", error)
        yield prepared or folder


def _prepared(folder: Path, stack: ExitStack) -> Path | None:
    """Links to the files of a model, and to converted weights in memory; None: not possible.

    They last as long as `stack`.
    """
    if sys.platform != "linux":
        return None
    file = stack.enter_context((folder / WEIGHTS).open("rb"))
    if _read(file, "<I") not in VERSIONS:
        return None
    links = Path(stack.enter_context(TemporaryDirectory()))
    converted = stack.enter_context(os.fdopen(os.memfd_create(WEIGHTS), "wb"))
    convert(file, converted)
    converted.flush()
    (links / WEIGHTS).symlink_to(f"/proc/self/fd/{converted.fileno()}")
    for other in folder.iterdir():
        if other.name != WEIGHTS:
            (links / other.name).symlink_to(other.absolute())
    return links


def convert(file: BinaryIO, out: BinaryIO) -> None:
    """Copy a model of one of `VERSIONS` with its weights as int8.

    Raises ValueError or struct.error if the file is faulty.
    """
    file.seek(4)
    _read_string(file)
    file.seek(4, os.SEEK_CUR)
    head_size = file.tell()
    variables = [_read_variable(file) for _ in range(_read(file, "<I"))]
    end = file.tell()
    file.seek(0)
    out.write(file.read(head_size))
    out.write(struct.pack("<I", len(variables) + sum(one.becomes_int8 for one in variables)))
    for one in variables:
        file.seek(one.start)
        if one.becomes_int8:
            _write_as_int8(file, out, one)
        else:
            _write_head(out, one.name, one.shape, one.type, one.size)
            out.write(file.read(one.size))
    file.seek(end)
    out.write(file.read())


def quantized(rows: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Rows as int8, and the scale by which each was multiplied."""
    largest = np.abs(rows).max(axis=1)
    scales: Floats = _MAX_INT8 / np.where(largest == 0, _MAX_INT8, largest).astype(np.float32)
    scaled = rows * scales[:, np.newaxis]
    return np.rint(scaled, out=scaled).astype(np.int8), scales


def _write_as_int8(file: BinaryIO, out: BinaryIO, one: _Variable) -> None:
    rows, columns = one.shape
    kind = _FLOATS[one.type]
    if one.size != rows * columns * kind.itemsize:
        raise ValueError("the size of a weight does not fit its shape")
    _write_head(out, one.name, one.shape, _INT8, rows * columns)
    scales = np.empty(rows, "<f4")
    step = max(_BLOCK // columns, 1)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        values = np.frombuffer(file.read(count * columns * kind.itemsize), kind)
        block = values.astype(np.float32).reshape(count, columns)
        converted, scales[start : start + count] = quantized(block)
        out.write(converted.data)
    _write_head(out, one.name + b"_scale", (rows,), _FLOAT32, scales.nbytes)
    out.write(scales.data)


def _read(file: BinaryIO, layout: str) -> int:
    (number,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    return int(number)


def _read_string(file: BinaryIO) -> bytes:
    """A string without the zero byte at its end."""
    return file.read(_read(file, "<H"))[:-1]


def _read_variable(file: BinaryIO) -> _Variable:
    """A variable without its values, which are skipped."""
    name = _read_string(file)
    shape = tuple(_read(file, "<I") for _ in range(_read(file, "<B")))
    kind, size = _read(file, "<B"), _read(file, "<I")
    start = file.tell()
    file.seek(size, os.SEEK_CUR)
    return _Variable(name, shape, kind, start, size)


def _write_head(out: BinaryIO, name: bytes, shape: tuple[int, ...], kind: int, size: int) -> None:
    out.write(struct.pack("<H", len(name) + 1) + name + b"\0")
    out.write(struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, kind, size))
