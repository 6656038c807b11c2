"""Multiplication of square matrices, divided over chained calls, with everything that they share in state.

A product of two matrices is that of their quarters: each quarter of the result is the sum of two products. Each of the eight
products is a chained call, which divides again until the matrices have been split as often as the configuration says.

Chained calls look for `distributed_divide_and_conquer` in the function's module, so that has to have it:

    from pyfaasm.matrix import distributed_divide_and_conquer, divide_and_conquer

    def faasm_main():
        divide_and_conquer()

Uses NumPy if that is there. Without it all works the same, on lists of `array.array("f")`, a good deal slower.
"""

from __future__ import annotations

import struct

from pyfaasm.config import (
    MATRIX_CONF_STATE_KEY,
    RESULT_MATRIX_KEY,
    SUBMATRICES_KEY_A,
    SUBMATRICES_KEY_B,
    MatrixConf,
)
from pyfaasm.core import await_call, chain, read_state, write_state
from pyfaasm.matrix_data import blocks, do_reconstruct_matrix, do_subdivide_matrix

# As the original's arrays of int32 are laid out: size and splits; level, row and column in A, row and column in B.
_CONF = struct.Struct("<2i")
_WORK = struct.Struct("<5i")

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    Matrix = Any


def write_matrix_params_to_state(matrix_size: int, n_splits: int) -> None:
    write_state(MATRIX_CONF_STATE_KEY, _CONF.pack(matrix_size, n_splits))


def load_matrix_conf_from_state() -> MatrixConf:
    return MatrixConf(*_CONF.unpack(read_state(MATRIX_CONF_STATE_KEY)))


def random_matrix(size: int) -> Matrix:
    """Makes a matrix of random numbers from 0 to 1."""
    return blocks.random(size)


def subdivide_matrix_into_state(conf: MatrixConf, mat: Matrix, key_prefix: str) -> None:
    """Writes each submatrix to a key of its own."""

    def write(data: bytes, row: int, column: int) -> None:
        write_state(conf.get_submatrix_key(key_prefix, conf.n_splits, row, column), data)

    do_subdivide_matrix(conf, mat, write)


def read_input_submatrix(conf: MatrixConf, key_prefix: str, row_idx: int, col_idx: int) -> Matrix:
    """Reads one of the submatrices that `subdivide_matrix_into_state` wrote."""
    return _read(conf.get_submatrix_key(key_prefix, conf.n_splits, row_idx, col_idx), conf, conf.n_splits)


def reconstruct_matrix_from_submatrices(conf: MatrixConf, key_prefix: str) -> Matrix:
    """Reads what `subdivide_matrix_into_state` wrote."""
    return do_reconstruct_matrix(
        conf, lambda row, column: read_state(conf.get_submatrix_key(key_prefix, conf.n_splits, row, column))
    )


def divide_and_conquer() -> None:
    """Multiplies the two matrices in state, under SUBMATRICES_KEY_A and _B, and writes the product to RESULT_MATRIX_KEY."""
    conf = load_matrix_conf_from_state()
    write_state(RESULT_MATRIX_KEY, blocks.to_bytes(_product(conf, 0, 0, 0, 0, 0)))


def distributed_divide_and_conquer(input_bytes: bytes) -> None:
    """The entry point of the chained calls: multiplies two submatrices and writes the product to state."""
    conf = load_matrix_conf_from_state()
    work = _WORK.unpack(input_bytes)
    write_state(conf.get_intermediate_result_key(*work), blocks.to_bytes(_product(conf, *work)))


def chain_multiplications(
    conf: MatrixConf, split_level: int, row_a: int, col_a: int, row_b: int, col_b: int
) -> Matrix:
    """Multiplies a submatrix of A and one of B, with a chained call for each product of quarters.

    Rows and columns count submatrices of that level, not elements. Raises RuntimeError if a call did not succeed.
    """
    level = split_level + 1
    # By row and column of the result's quarters: the products, of a row of A's quarters and a column of B's, that add up to it.
    quarters = [
        [
            [((2 * row_a + row, 2 * col_a + inner), (2 * row_b + inner, 2 * col_b + column)) for inner in (0, 1)]
            for column in (0, 1)
        ]
        for row in (0, 1)
    ]
    products = [product for row in quarters for addition in row for product in addition]
    calls = [chain(distributed_divide_and_conquer, _WORK.pack(level, *a, *b)) for a, b in products]
    # Waits for all of them before anything is raised: none may go on writing when this call has failed.
    failed = [product for call, product in zip(calls, products) if await_call(call) != 0]
    if failed:
        raise RuntimeError(f"no products of the submatrices, of level {level}, by row and column in A and in B: {failed}")
    return blocks.join([[get_addition_result(conf, level, addition) for addition in row] for row in quarters])


def get_addition_result(
    conf: MatrixConf, split_level: int, addition_def: list[tuple[tuple[int, int], tuple[int, int]]]
) -> Matrix:
    """Adds two products of submatrices, each given by row and column in A, and in B."""
    first, second = [
        _read(conf.get_intermediate_result_key(split_level, *a, *b), conf, split_level) for a, b in addition_def
    ]
    return blocks.add(first, second)


def _product(conf: MatrixConf, split_level: int, row_a: int, col_a: int, row_b: int, col_b: int) -> Matrix:
    if split_level < conf.n_splits:
        return chain_multiplications(conf, split_level, row_a, col_a, row_b, col_b)
    return blocks.multiply(
        read_input_submatrix(conf, SUBMATRICES_KEY_A, row_a, col_a),
        read_input_submatrix(conf, SUBMATRICES_KEY_B, row_b, col_b),
    )


def _read(key: str, conf: MatrixConf, split_level: int) -> Matrix:
    return blocks.from_bytes(read_state(key), conf.get_submatrix_size(split_level))
