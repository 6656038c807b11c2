"""Calls a hook of a build backend, as PEP 517 has it.

Usage: python hooks.py HOOK BACKEND PATH SETTINGS RESULT [DIRECTORY]. PATH is the backend's own directory in the source, or
empty; SETTINGS is a JSON object. What the hook answers is written to the file RESULT, as JSON.
"""

import functools
import importlib
import json
import os
import sys


def main(hook, backend, path, settings, result, *arguments):
    # Not this file's directory, which Python has put there.
    sys.path.pop(0)
    if path:
        sys.path[:0] = [os.path.abspath(part) for part in path.split(os.pathsep)]
    module, _, name = backend.partition(":")
    backend = functools.reduce(getattr, name.split(".") if name else [], importlib.import_module(module))
    function = getattr(backend, hook, None)
    if function is None:
        # The hooks that answer requirements are optional.
        answer = []
    else:
        answer = function(*arguments, config_settings=json.loads(settings))
    with open(result, "w") as file:
        json.dump(answer, file)


main(*sys.argv[1:])
