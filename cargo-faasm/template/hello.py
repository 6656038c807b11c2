"""Says hello. The input is whom to greet, the output what to say."""

import platform


def faasm_main(name):
    return f"Hello, {name.decode() or 'world'}! This is Python {platform.python_version()} in a sandbox."
