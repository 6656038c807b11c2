"""Dividing matrices into submatrices, in files or wherever, and putting them together again.

With NumPy, matrices are two-dimensional arrays of `float32`. Without it they are lists of rows, which are lists or arrays of
numbers; those that are returned are made of `array.array("f")`.
"""

from __future__ import annotations

import os

from pyfaasm.config import MatrixConf

__all__ = [
    "blocks",
    "do_reconstruct_matrix",
    "do_subdivide_matrix",
    "reconstruct_matrix_from_files",
    "subdivide_matrix_into_files",
]

try:
    from pyfaasm import _numpy_blocks as blocks
except ModuleNotFoundError:
    from pyfaasm import _plain_blocks as blocks  # type: ignore[no-redef]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Matrix = Any


def subdivide_matrix_into_files(conf: MatrixConf, mat: Matrix, file_dir: str, file_prefix: str) -> None:
    """Writes each submatrix to a file, named like its key in state, in a directory that exists."""

    def write(data: bytes, row: int, column: int) -> None:
        with open(_path(conf, file_dir, file_prefix, row, column), "wb") as file:
            file.write(data)

    do_subdivide_matrix(conf, mat, write)


def reconstruct_matrix_from_files(conf: MatrixConf, file_dir: str, file_prefix: str) -> Matrix:
    """Reads what `subdivide_matrix_into_files` wrote."""

    def read(row: int, column: int) -> bytes:
        with open(_path(conf, file_dir, file_prefix, row, column), "rb") as file:
            return file.read()

    return do_reconstruct_matrix(conf, read)


def do_subdivide_matrix(conf: MatrixConf, mat: Matrix, write_func: Callable[[bytes, int, int], None]) -> None:
    """Calls `write_func` with the bytes of each submatrix, its row and its column."""
    size = conf.get_submatrix_size(conf.n_splits)
    per_row = conf.get_submatrices_per_row(conf.n_splits)
    for row in range(per_row):
        for column in range(per_row):
            write_func(blocks.to_bytes(blocks.cut(mat, row * size, column * size, size)), row, column)


def do_reconstruct_matrix(conf: MatrixConf, read_func: Callable[[int, int], bytes]) -> Matrix:
    """Puts together the submatrices whose bytes `read_func` returns for a row and a column."""
    size = conf.get_submatrix_size(conf.n_splits)
    indices = range(conf.get_submatrices_per_row(conf.n_splits))
    return blocks.join([[blocks.from_bytes(read_func(row, column), size) for column in indices] for row in indices])


def _path(conf: MatrixConf, directory: str, prefix: str, row: int, column: int) -> str:
    return os.path.join(directory, conf.get_submatrix_key(prefix, conf.n_splits, row, column))
