"""Greets, and prints which Python this is."""

import sys

import faasm


def faasm_main(name):
    print(f"Python {sys.version}")
    print(f"on {sys.platform}", file=sys.stderr)
    faasm.output(f"Hello, {name.decode() or 'world'}!")
