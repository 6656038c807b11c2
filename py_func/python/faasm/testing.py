"""Sets up the emulator that stands in for the host in local mode, for tests of functions in an ordinary Python.

    import faasm.testing
    import greeter

    def test_greeter():
        faasm.testing.reset()
        assert faasm.chain(greeter.faasm_main, b"Ada").output() == b"Hello, Ada!"

Chained calls run at once, in this process and not in a sandbox: what one leaves in a global variable the next one finds.
State lives in the process, and belongs to users as elsewhere. The emulator is for one thread.
"""

from __future__ import annotations

import faasm

if not faasm.LOCAL:
    raise ImportError("faasm.testing sets up the emulator of the host, and here is a real one: use it in an ordinary Python")

from faasm._local import begin, finish, get_output, register, reset

__all__ = ["begin", "finish", "get_output", "register", "reset"]
