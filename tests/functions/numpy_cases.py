"""What NumPy answers, one case a line. Run as a program by a native Python with NumPy, this writes numpy_cases.txt:

    python tests/functions/numpy_cases.py > tests/functions/numpy_cases.txt
"""

import io
import os
import tempfile

import numpy as np

# Sums are added up in another order by other libraries and processors, so of what linear algebra makes twelve digits are shown.
np.set_printoptions(precision=12, suppress=True, linewidth=1000, legacy="2.2")

MATRIX = np.array([[4.0, 1, 2], [1, 5, 3], [2, 3, 6]])
RECORD = np.dtype([("name", "U8"), ("place", "<f4", (2,)), ("count", "<i8"), ("flag", "?")])


def rounded(array):
    # A zero has no sign that would be the same everywhere.
    return np.round(array, 12) + 0.0


def records():
    made = np.zeros(3, RECORD)
    made["name"] = ["a", "bc", "äö"]
    made["place"] = [[1, 2], [3, 4], [5, 6.5]]
    made["count"] = [2**40, -1, 7]
    return made


def fourier(count):
    signal = np.cos(np.arange(count) * 0.3) + 1j * np.sin(np.arange(count) * 0.7)
    return np.round(np.fft.fft(signal)[:4], 10) + 0.0


def through_file(save, load):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "array")
        save(path)
        return load(path)


def saved(array, **options):
    return through_file(lambda path: np.save(path + ".npy", array, **options), lambda path: np.load(path + ".npy"))


def archived():
    def load(path):
        with np.load(path + ".npz") as archive:
            return {name: archive[name].tolist() for name in archive.files}

    return through_file(lambda path: np.savez_compressed(path + ".npz", a=np.arange(3), b=np.eye(2)), load)


def raw():
    def save(path):
        with open(path, "wb") as file:
            np.arange(5, dtype="<i2").tofile(file)
            file.write(b"end")
            np.arange(3.0).tofile(file)

    def load(path):
        with open(path, "rb") as file:
            return np.fromfile(file, "<i2", 5).tolist(), file.read(3), np.fromfile(file).tolist()

    return through_file(save, load)


CASES = {
    "solve": lambda: rounded(np.linalg.solve(MATRIX, [1, 2, 3])),
    "inverse": lambda: rounded(np.linalg.inv(MATRIX)),
    "determinant": lambda: np.round(np.linalg.det(MATRIX), 10),
    "eigenvalues": lambda: rounded(np.linalg.eigvalsh(MATRIX)),
    "singular values": lambda: rounded(np.linalg.svd(MATRIX[:2], compute_uv=False)),
    "least squares": lambda: rounded(np.linalg.lstsq(MATRIX[:, :2], [1, 2, 3], rcond=None)[0]),
    "qr": lambda: rounded(np.abs(np.linalg.qr(MATRIX)[1])),
    "cholesky": lambda: rounded(np.linalg.cholesky(MATRIX)),
    "matrix product": lambda: (MATRIX @ MATRIX).tolist(),
    "einsum": lambda: np.einsum("ij,jk->ki", MATRIX, np.arange(6).reshape(3, 2)).tolist(),
    "fourier 8": lambda: fourier(8),
    "fourier 17": lambda: fourier(17),
    "fourier real": lambda: np.round(np.fft.irfft(np.fft.rfft(np.arange(7.0)), 7), 10) + 0.0,
    "default_rng": lambda: np.random.default_rng(42).random(4).tolist(),
    "normal": lambda: np.round(np.random.default_rng(42).normal(size=4), 14).tolist(),
    "integers": lambda: np.random.default_rng([1, 2]).integers(0, 2**62, 3).tolist(),
    "permutation": lambda: np.random.default_rng(7).permutation(8).tolist(),
    "philox": lambda: np.random.Generator(np.random.Philox(5)).integers(0, 1000, 4).tolist(),
    "legacy": lambda: np.random.RandomState(3).randint(0, 1000, 5).tolist(),
    "legacy normal": lambda: np.round(np.random.RandomState(3).randn(3), 14).tolist(),
    "records": lambda: records().tolist(),
    "record type": lambda: (RECORD.itemsize, RECORD.fields["count"], str(RECORD)),
    "record field": lambda: records()["place"].sum(axis=0).tolist(),
    "saved": lambda: saved(records()).tolist(),
    "saved in Fortran's order": lambda: (saved(np.asfortranarray(MATRIX)).flags.f_contiguous, saved(MATRIX.T).tolist()),
    "saved objects": lambda: raised(lambda: saved(np.array([{}]))),
    "archived": archived,
    "raw": raw,
    "text": lambda: np.loadtxt(io.StringIO("# x\n1 2.5\n3 4e-3\n")).tolist(),
    "sorted": lambda: np.sort(np.array([3.5, np.nan, -1, 2])).tolist(),
    "stable order": lambda: np.argsort([2, 1, 2, 1, 2], kind="stable").tolist(),
    "unique": lambda: [it.tolist() for it in np.unique([3, 1, 3, 2], return_counts=True)],
    "dates": lambda: (np.datetime64("2026-02-27") + np.arange(3)).tolist(),
    "strings": lambda: np.strings.upper(np.array(["ab", "ß"])).tolist(),
    "variable strings": lambda: np.array(["a", "b" * 40], dtype=np.dtypes.StringDType()).tolist(),
    "masked": lambda: np.ma.masked_greater([1, 5, 3], 3).tolist(),
    "polynomial": lambda: rounded(np.polynomial.Polynomial.fit([0, 1, 2], [1, 3, 7], 2).convert().coef),
    "half": lambda: [float(it) for it in np.array([1.1, 65504, 6e-8], np.float16)],
    "printing": lambda: f"{np.float32(0.1)} {np.float64(1e22)} {np.complex64(1 - 2j)} {np.array([1e-5, 1.5])}",
    "overflow": lambda: raised(lambda: np.int8(200)),
    "floating errors": lambda: [float(it) for it in quiet()],
    "integers wrap": lambda: (np.array([2**31 - 1], "i4") + 1).tolist(),
    "exponents": lambda: [f"{it:.14e}" for it in np.exp([0.0, 1, -1, 700])],
    "pairwise sum": lambda: float(np.sum(np.full(10**6, 0.1))),
}


def quiet():
    with np.errstate(all="ignore"):
        return np.array([1.0, -1.0, 0.0]) / 0


def raised(function):
    try:
        return function()
    except Exception as exception:
        return f"{type(exception).__name__}: {exception}"


def one(name):
    return f"{name}: {CASES[name]()!r}".replace("\n", " ")


def faasm_main():
    return "".join(one(name) + "\n" for name in CASES)


# The target's long double is the one of 128 bits, and that of x86 is not, so this is no case with an expected line of there.
def long_double():
    third = np.longdouble(1) / 3
    return f"{np.finfo(np.longdouble).nmant} {third!s} {np.longdouble(str(third)) == third} {np.longdouble('1e4000')!s}"


if __name__ == "__main__":
    print(faasm_main(), end="")
