"""What `pyfaasm.matrix` does with matrices in memory, without NumPy: lists of rows, each an array of 32-bit floats."""

from __future__ import annotations

import random as _random
from array import array
from operator import mul

from pyfaasm.config import NP_ELEMENT_SIZE

TYPE_CHECKING = False

if TYPE_CHECKING:
    Matrix = list[array[float]]


def random(size: int) -> Matrix:
    """Makes a square matrix of random numbers from 0 to 1."""
    return [array("f", [_random.random() for _ in range(size)]) for _ in range(size)]


def cut(matrix: Matrix, row: int, column: int, size: int) -> Matrix:
    """Copies the square of that size out whose first element is at `row` and `column`."""
    return [array("f", line[column : column + size]) for line in matrix[row : row + size]]


def join(blocks: list[list[Matrix]]) -> Matrix:
    """Puts rows of matrices together to one matrix."""
    return [sum(lines, array("f")) for row in blocks for lines in zip(*row)]


def multiply(a: Matrix, b: Matrix) -> Matrix:
    columns = list(zip(*b))
    return [array("f", [sum(map(mul, line, column)) for column in columns]) for line in a]


def add(a: Matrix, b: Matrix) -> Matrix:
    return [array("f", [x + y for x, y in zip(*lines)]) for lines in zip(a, b)]


def to_bytes(matrix: Matrix) -> bytes:
    """Writes the elements row by row."""
    return b"".join(line.tobytes() for line in matrix)


def from_bytes(data: bytes, size: int) -> Matrix:
    """Reads what `to_bytes` writes."""
    width = size * NP_ELEMENT_SIZE
    return [array("f", data[start : start + width]) for start in range(0, len(data), width)]
