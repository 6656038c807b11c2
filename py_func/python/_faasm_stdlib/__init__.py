"""Completes modules of the standard library for the sandbox when they are imported, and not before: importing this package costs
next to nothing; asyncio itself takes longer than most functions. It also has importing find what is a part of the interpreter here.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder

# Which module here completes which of the standard library. asyncio's is the one that has the event loop of the platform.
_COMPLETED = {
    "asyncio.unix_events": "loop",
    "ctypes.util": "libraries",
    "socket": "sockets",
    "subprocess": "processes",
    "threading": "threads",
}


class _Finder:
    """Finds those modules as they are, and completes them once they were executed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _COMPLETED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                import_module("_faasm_stdlib." + _COMPLETED[name]).install(module)

            spec.loader.exec_module = exec_module
        return spec


class _Packages:
    """Finds packages that have nothing but extension modules. Elsewhere their directory is enough for them to be found; here these modules
    have no files. Nor has such a package a place, so `importlib.resources` raises `ValueError` for it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if any(module.startswith(name + ".") for module in sys.builtin_module_names):
            return ModuleSpec(name, None, is_package=True)
        return None


sys.meta_path.insert(0, _Finder)
sys.meta_path.append(_Packages)
