"""What a function may ask of its host.

    import faasm

    def faasm_main():
        name = faasm.input().decode() or "world"
        faasm.output(f"Hello, {name}!")
"""

from faasm._guest import on_restore

import _faasm

__all__ = ["input", "on_restore", "output"]


def input() -> bytes:
    """Returns the input of this call; empty when there is none."""
    return _faasm.input()


def output(data: bytes | bytearray | memoryview | str) -> None:
    """Makes `data` the output of this call, text as UTF-8. The last output counts.

    A `bytes` or `str` that the entry point returns does the same.
    """
    _faasm.output(data.encode() if isinstance(data, str) else data)
