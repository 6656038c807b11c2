"""The functions of `tests/functions` that use the host, in local mode; the end-to-end tests run them in the sandbox."""

import unittest

from support import TestCase, function

import faasm
import faasm.testing

ENTRIES = ("faasm_main", "with_faasm")


class Functions(TestCase):
    def check(self, name, data=b"", entry="faasm_main"):
        function(name)
        call = faasm.chain(name, data, entry=entry)
        self.assertEqual(call.wait(), 0)
        return call.output()

    def test_state(self):
        for write in ENTRIES:
            faasm.testing.reset()
            self.check("state_write", entry=write)
            for read in ENTRIES:
                self.assertEqual(self.check("state_read", entry=read), b"0199956789")

    def test_chain(self):
        self.check("chain")
        self.assertEqual(self.check("chain", entry="with_faasm"), b"CHAINED")

    def test_dict_state(self):
        for entry in ENTRIES:
            faasm.testing.reset()
            self.check("dict_state", entry=entry)

    def test_append(self):
        for entry in (b"one", b"", b"three"):
            self.check("append", entry)
        self.assertEqual(self.check("append", entry="listed"), b"one\n\nthree")

    def test_mat_mul(self):
        for splits in range(4):
            self.assertEqual(self.check("mat_mul", f"16 {splits}"), f"16x16 in {splits} splits".encode())


if __name__ == "__main__":
    unittest.main()
