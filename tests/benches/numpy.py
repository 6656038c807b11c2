"""Kernels of NumPy, each with the seconds that it took. What they work on is made before."""

import time

import numpy as np

rng = np.random.default_rng(1)
square = rng.random((400, 400))
million = rng.random(10**6)
integers = rng.integers(0, 10**6, 10**6)
system, right = rng.random((200, 200)), rng.random(200)

KERNELS = {
    "matmul-400": lambda: square @ square,
    "sort-1e6": lambda: np.sort(million),
    "sort-int-1e6": lambda: np.sort(integers),
    "exp-1e6": lambda: np.exp(million),
    "sin-1e6": lambda: np.sin(million),
    "add-1e6": lambda: million + million,
    "sum-1e6": lambda: million.sum(),
    "fft-2^18": lambda: np.fft.fft(million[: 1 << 18]),
    "solve-200": lambda: np.linalg.solve(system, right),
    "normal-1e6": lambda: rng.standard_normal(10**6),
    "where-1e6": lambda: np.where(million > 0.5, million, -million),
}


def faasm_main():
    lines = []
    for name, kernel in KERNELS.items():
        started = time.perf_counter()
        kernel()
        lines.append(f"{name} {time.perf_counter() - started}\n")
    return "".join(lines)


if __name__ == "__main__":
    print(faasm_main(), end="")
