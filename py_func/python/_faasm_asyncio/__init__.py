"""Has `asyncio` work in the sandbox, where there are no sockets for its event loop to wake itself with.

When asyncio is imported, and not before, its event loop is replaced by the one of `loop.py`. Importing this package costs next
to nothing; asyncio itself takes longer than most functions.
"""

import sys
from importlib.machinery import PathFinder


class _Finder:
    """Finds the module of asyncio that has the event loop of the platform, as it is, and completes it once it was executed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "asyncio.unix_events":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                from _faasm_asyncio import loop

                loop.install(module)

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
