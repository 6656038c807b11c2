"""What programs expect of `socket` that CPython does not have on WASI."""


def install(socket):
    """Adds a constant to the module `socket`, without which packages fail to be imported that open no socket then."""
    # Nothing here looks up names, of services or hosts, so there is nothing to ask for by it.
    socket.AI_NUMERICSERV = socket.AddressInfo(0)
