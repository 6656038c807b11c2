"""Lists a directory, given as the input: its names, sorted, one a line."""

import os


def faasm_main(path):
    names = os.listdir(path)
    with os.scandir(path) as entries:
        assert sorted(entry.name for entry in entries) == sorted(names)
    return b"\n".join(sorted(os.fsencode(name) for name in names))
