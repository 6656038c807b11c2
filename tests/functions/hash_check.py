"""Gives hashes and orders that depend on the seed of the interpreter's hashes."""

import sys

AT_LOAD = hash("text"), hash(b"bytes"), list({"one", "two", "three", "four"})


def faasm_main():
    now = hash("text"), hash(b"bytes"), list({"one", "two", "three", "four"})
    # What is in sets and dictionaries of the image must be found again.
    assert now == AT_LOAD, (now, AT_LOAD)
    # Numbers that are equal have the same hash, whatever their type; for a fraction that is its value modulo a prime.
    assert hash(1) == hash(1.0) == hash(True) == 1 and hash(0.5) == pow(2, -1, sys.hash_info.modulus)
    assert list({"b": 1, "a": 2, "c": 3}) == ["b", "a", "c"]
    return repr(now)
