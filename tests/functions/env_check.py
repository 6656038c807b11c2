"""Says what a function can see of where it runs."""

import json
import os
import sys


def faasm_main():
    seen = {
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "executable": sys.executable,
        "flags": [sys.flags.isolated, sys.flags.utf8_mode, sys.flags.no_user_site],
        "implementation": [sys.implementation.name, sys.platform, sys.maxsize, sys.byteorder],
        "modules": [name for name in ("site", "__main__") if name in sys.modules],
        "path": sys.path,
        "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix],
        "root": sorted(os.listdir("/")),
        "stdin": sys.stdin.read() if sys.stdin else None,
        "write_bytecode": not sys.dont_write_bytecode,
    }
    return json.dumps(seen, sort_keys=True)
