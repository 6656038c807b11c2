"""What is done with NumPy where it is imported into the base image, so that calls need not do it."""

import numpy as np

# NumPy imports these when somebody first uses them. As every call would be the first one, they are imported here.
import numpy.fft
import numpy.linalg
import numpy.random

# Each runs often enough for the interpreter to specialise the code that it goes through.
_ROUNDS = 30


def prepare():
    """Runs what functions are likely to run. NumPy keeps which loop it has found for which types, and the interpreter specialises
    code that has run for a while; what a call learns of that is gone after it."""
    arrays = [np.ones((3, 3), kind) for kind in ("f8", "f4", "i8", "i4", "u1", "?", "c16")]
    # Nothing that is computed here is of interest, and neither is what NumPy has to say about it.
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            for array in arrays:
                _arithmetic(array)
            _floats()


def _arithmetic(array):
    """What arrays of all types can do."""
    number = array.dtype.kind in "fc"
    for operation in (np.add, np.multiply, np.equal, np.not_equal, np.less, np.greater, np.maximum, np.minimum):
        operation(array, array)
    for operation in (np.subtract, np.divide, np.power) if number else ():
        operation(array, array)
        operation(array, 2)
    array + array, array * 2, array == 1, array[0], array[:, 0], array[array == 1], array.T, array.copy(), array.real.astype("f8")
    array.sum(), array.sum(axis=0), array.mean(), array.max(), array.min(), array.any(), array.all(), array.argmax()
    np.sort(array, axis=None), array.tolist(), array.tobytes(), np.where(array == 1, array, array), np.concatenate((array, array))
    array @ array, array.dot(array)
    str(array)


def _floats():
    """What is done with floating-point numbers above all."""
    matrix = np.array([[4.0, 1, 2], [1, 5, 3], [2, 3, 6]])
    vector = np.asarray([1.0, 2.0, 3.0])
    for operation in (np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh, np.abs, np.isnan, np.isfinite, np.negative, np.floor):
        operation(matrix)
    matrix - 1, 1 - matrix, matrix / 2, 1 / matrix, matrix**2, -matrix, matrix > 0, matrix @ matrix, matrix @ vector, matrix.dot(vector)
    matrix.std(), matrix.var(), np.median(vector), np.cumsum(vector), np.clip(vector, 0, 1), np.argsort(vector), np.unique(vector)
    np.zeros(3), np.ones(3), np.empty(3), np.full(3, 1.0), np.arange(3), np.linspace(0, 1, 3), np.eye(3), np.frombuffer(b"12345678")
    np.linalg.solve(matrix, [1.0, 2.0, 3.0]), np.linalg.inv(matrix), np.linalg.det(matrix), np.linalg.norm(vector)
    np.linalg.eigh(matrix), np.linalg.svd(matrix), np.linalg.lstsq(matrix, vector), np.allclose(vector, vector)
    np.fft.fft(vector), np.fft.ifft(vector), np.fft.rfft(vector)
    generator = np.random.default_rng(1)
    generator.random(3), generator.integers(0, 9, 3), generator.normal(size=3), generator.choice(vector), generator.permutation(vector)
    np.random.random(3), np.random.rand(3), np.random.randn(3), np.random.randint(0, 9, 3), np.random.normal(size=3)
