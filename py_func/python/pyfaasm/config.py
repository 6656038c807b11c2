"""Where the matrix multiplication of `pyfaasm.matrix` keeps what in state.

The matrices are square and are divided by halving their sides: with `n_splits` splits there are `2**n_splits` submatrices in
each row and as many in each column.
"""

NP_ELEMENT_SIZE = 4
"""Bytes of an element, a 32-bit float."""

SUBMATRICES_KEY_A = "mat_a"
SUBMATRICES_KEY_B = "mat_b"
INTERMEDIATE_RESULT_PREFIX = "intermediate"
RESULT_MATRIX_KEY = "result_matrix"
MATRIX_CONF_STATE_KEY = "matrix_state"


class MatrixConf:
    """The side of the matrices, in elements, and how often they are split.

    Raises ValueError if they cannot be split that often into submatrices of equal size.
    """

    def __init__(self, matrix_size: int, n_splits: int) -> None:
        if n_splits < 0 or matrix_size < 1 or matrix_size % (1 << n_splits):
            raise ValueError(f"a matrix of {matrix_size}x{matrix_size} cannot be halved {n_splits} times")
        self.matrix_size = matrix_size
        self.n_splits = n_splits
        self.bytes_per_matrix = matrix_size * matrix_size * NP_ELEMENT_SIZE

    def get_submatrices_per_row(self, split_level: int) -> int:
        return 1 << split_level

    def get_submatrix_size(self, split_level: int) -> int:
        """Returns the side of a submatrix, in elements."""
        return self.matrix_size >> split_level

    def get_bytes_per_submatrix(self, split_level: int) -> int:
        return self.get_submatrix_size(split_level) * self.get_submatrix_size(split_level) * NP_ELEMENT_SIZE

    def get_intermediate_result_key(self, split_level: int, row_a: int, col_a: int, row_b: int, col_b: int) -> str:
        """Returns the key of the product of two submatrices, one of each matrix."""
        return f"{INTERMEDIATE_RESULT_PREFIX}_{split_level}_{row_a}_{col_a}_{row_b}_{col_b}"

    def get_submatrix_key(self, key_prefix: str, split_level: int, row_idx: int, col_idx: int) -> str:
        return f"{key_prefix}_{split_level}_{row_idx}_{col_idx}"
