"""What the tests share. Run them all with `python3 -m unittest discover -s py_func/python_tests`; nothing needs an image."""

import importlib
import sys
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY / "py_func" / "python"), str(REPOSITORY / "tests" / "functions")]

import faasm.testing


class TestCase(unittest.TestCase):
    """A test that begins with a new emulator: no state, no calls."""

    def setUp(self):
        faasm.testing.reset()


def function(name):
    """Registers the function `tests/functions/<name>.py` and returns its module."""
    module = importlib.import_module(name)
    faasm.testing.register(module)
    return module
