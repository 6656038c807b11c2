"""What `pyfaasm.matrix` does with matrices in memory, if NumPy is there: arrays of 32-bit floats. See `_plain_blocks`."""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]


def random(size: int) -> Matrix:
    return np.random.rand(size, size).astype(np.float32)


def cut(matrix: Matrix, row: int, column: int, size: int) -> Matrix:
    return np.asarray(matrix, np.float32)[row : row + size, column : column + size]


def join(blocks: list[list[Matrix]]) -> Matrix:
    return np.block(blocks)


def multiply(a: Matrix, b: Matrix) -> Matrix:
    return a @ b


def add(a: Matrix, b: Matrix) -> Matrix:
    return a + b


def to_bytes(matrix: Matrix) -> bytes:
    return matrix.tobytes()


def from_bytes(data: bytes, size: int) -> Matrix:
    return np.frombuffer(data, np.float32).reshape(size, size)
