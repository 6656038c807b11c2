"""What programs expect of `threading` that CPython does not have on WASI."""


def install(threading):
    """Adds to the module `threading` the number that the system has for a thread. There is one thread, and no system to ask."""
    threading.get_native_id = threading.get_ident
    threading.Thread.native_id = property(lambda thread: thread.ident)
