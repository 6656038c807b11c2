"""`pyfaasm.matrix`, with NumPy where that is installed, and without it everywhere."""

import importlib
import sys
import tempfile
import unittest
from unittest import mock

from support import TestCase

from pyfaasm import config

try:
    # Here, because it can be loaded only once per process, and what the tests load is dropped after each.
    import numpy
except ModuleNotFoundError:
    numpy = None

SIZE = 16


class Conf(unittest.TestCase):
    def test_sizes_and_keys(self):
        conf = config.MatrixConf(1024, 3)
        self.assertEqual(conf.bytes_per_matrix, 4 * 1024 * 1024)
        self.assertEqual((conf.get_submatrices_per_row(2), conf.get_submatrix_size(2)), (4, 256))
        self.assertEqual(conf.get_bytes_per_submatrix(2), 4 * 256 * 256)
        self.assertEqual(conf.get_submatrix_key("mat_a", 3, 5, 6), "mat_a_3_5_6")
        self.assertEqual(conf.get_intermediate_result_key(1, 2, 3, 4, 5), "intermediate_1_2_3_4_5")

    def test_what_cannot_be_split(self):
        for size, splits in [(0, 0), (-4, 1), (6, 2), (8, -1), (8, 4)]:
            with self.assertRaisesRegex(ValueError, "cannot be halved"):
                config.MatrixConf(size, splits)


class Plain(TestCase):
    """On lists of arrays."""

    hidden = {"numpy": None}

    def setUp(self):
        super().setUp()
        # Which of the two it is is chosen at the import.
        modules = {name: module for name, module in sys.modules.items() if not name.startswith("pyfaasm.")}
        patch = mock.patch.dict(sys.modules, {**modules, **self.hidden}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        self.matrix = importlib.import_module("pyfaasm.matrix")
        self.data = importlib.import_module("pyfaasm.matrix_data")

    def confs(self):
        for splits in range(4):
            self.matrix.write_matrix_params_to_state(SIZE, splits)
            conf = self.matrix.load_matrix_conf_from_state()
            self.assertEqual((conf.matrix_size, conf.n_splits), (SIZE, splits))
            yield conf

    def assert_equal(self, actual, expected, tolerance=0):
        self.assertEqual(len(actual), len(expected))
        for row, expected_row in zip(actual, expected):
            self.assertEqual(len(row), len(expected_row))
            for x, y in zip(row, expected_row):
                self.assertLessEqual(abs(x - y), tolerance)

    def test_round_trips(self):
        for conf in self.confs():
            mat = self.matrix.random_matrix(SIZE)
            self.matrix.subdivide_matrix_into_state(conf, mat, "key")
            self.assert_equal(self.matrix.reconstruct_matrix_from_submatrices(conf, "key"), mat)
            with tempfile.TemporaryDirectory() as directory:
                self.data.subdivide_matrix_into_files(conf, mat, directory, "prefix")
                self.assert_equal(self.data.reconstruct_matrix_from_files(conf, directory, "prefix"), mat)

            size = conf.get_submatrix_size(conf.n_splits)
            row, column = conf.get_submatrices_per_row(conf.n_splits) - 1, conf.n_splits // 2
            block = [line[column * size : (column + 1) * size] for line in mat[row * size : (row + 1) * size]]
            self.assert_equal(self.matrix.read_input_submatrix(conf, "key", row, column), block)

    def test_products(self):
        core = importlib.import_module("pyfaasm.core")
        for conf in self.confs():
            a, b = self.matrix.random_matrix(SIZE), self.matrix.random_matrix(SIZE)
            self.matrix.subdivide_matrix_into_state(conf, a, config.SUBMATRICES_KEY_A)
            self.matrix.subdivide_matrix_into_state(conf, b, config.SUBMATRICES_KEY_B)
            self.matrix.divide_and_conquer()
            result = self.data.blocks.from_bytes(core.read_state(config.RESULT_MATRIX_KEY, conf.bytes_per_matrix), SIZE)
            expected = [[sum(float(x) * float(y) for x, y in zip(row, column)) for column in zip(*b)] for row in a]
            # Each of the sums, at most 16, is rounded to 24 bits.
            self.assert_equal(result, expected, tolerance=16 * 16 * 2**-24)

    def test_lists_will_do(self):
        conf = config.MatrixConf(2, 1)
        self.matrix.subdivide_matrix_into_state(conf, [[1, 2.5], [3, 4]], "key")
        self.assert_equal(self.matrix.reconstruct_matrix_from_submatrices(conf, "key"), [[1, 2.5], [3, 4]])

    def test_failed_products_are_named(self):
        conf = next(conf for conf in self.confs() if conf.n_splits == 1)
        self.matrix.subdivide_matrix_into_state(conf, self.matrix.random_matrix(SIZE), config.SUBMATRICES_KEY_A)
        with self.assertRaisesRegex(RuntimeError, "level 1"), mock.patch("sys.stderr"):
            self.matrix.divide_and_conquer()


@unittest.skipUnless(numpy, "NumPy is not installed")
class NumPy(Plain):
    """On NumPy's arrays."""

    hidden = {}

    def test_matrices_are_arrays(self):
        mat = self.matrix.random_matrix(2)
        self.assertIsInstance(mat, numpy.ndarray)
        self.assertEqual(mat.dtype, numpy.float32)
        conf = config.MatrixConf(2, 0)
        self.matrix.subdivide_matrix_into_state(conf, mat.astype(numpy.float64), "key")
        self.assertTrue((self.matrix.reconstruct_matrix_from_submatrices(conf, "key") == mat).all())


if __name__ == "__main__":
    unittest.main()
