"""Checks that the standard library comes from byte code that lies beside its source and fits it."""

import importlib.util
import json.decoder
import os
import struct
import sys


def checked_byte_code(module):
    with open(module.__cached__, "rb") as file:
        magic, flags, source_time, source_size = struct.unpack("<4sIII", file.read(16))
    assert magic == importlib.util.MAGIC_NUMBER, (module.__name__, magic)
    if flags & 0b01:
        # Checked by the hash of the source, or not at all: the time does not matter.
        return 1
    source = os.stat(module.__file__)
    assert source_time == int(source.st_mtime) & 0xFFFFFFFF, (module.__name__, source_time, source.st_mtime)
    assert source_size == source.st_size & 0xFFFFFFFF, (module.__name__, source_size, source.st_size)
    return 1


def faasm_main():
    assert json.decoder.__cached__.endswith("json/__pycache__/decoder.cpython-313.pyc"), json.decoder.__cached__
    count = 0
    for module in list(sys.modules.values()):
        # Modules within the interpreter have no file, and frozen ones are byte code already.
        if getattr(module, "__cached__", None) and not module.__spec__.origin == "frozen":
            count += checked_byte_code(module)
    assert count >= 10, count
    return "all from byte code"
