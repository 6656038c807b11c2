"""Multiplies two matrices by chained calls. The input says how large they are and how often they are split: `16 2`."""

from array import array

from pyfaasm import config, matrix
from pyfaasm.core import read_state

# Chained calls look for this here.
from pyfaasm.matrix import distributed_divide_and_conquer


def faasm_main(data):
    size, splits = (int(number) for number in data.split())
    # Small integers, whose products and sums are exact in 32-bit floats.
    a = rows(size, lambda row, column: (3 * row + 5 * column) % 7 - 3)
    b = rows(size, lambda row, column: (row * column + 2) % 5)

    matrix.write_matrix_params_to_state(size, splits)
    conf = matrix.load_matrix_conf_from_state()
    matrix.subdivide_matrix_into_state(conf, a, config.SUBMATRICES_KEY_A)
    matrix.subdivide_matrix_into_state(conf, b, config.SUBMATRICES_KEY_B)
    assert as_lists(matrix.reconstruct_matrix_from_submatrices(conf, config.SUBMATRICES_KEY_A)) == as_lists(a)
    matrix.divide_and_conquer()

    result = array("f", read_state(config.RESULT_MATRIX_KEY, conf.bytes_per_matrix)).tolist()
    columns = list(zip(*b))
    assert result == [sum(x * y for x, y in zip(row, column)) for row in a for column in columns]
    return f"{size}x{size} in {splits} splits"


def rows(size, element):
    return [array("f", [element(row, column) for column in range(size)]) for row in range(size)]


def as_lists(matrix):
    return [list(row) for row in matrix]
