"""What programs expect of `socket` that CPython does not have on WASI."""


def install(socket):
    """Adds to the module `socket` a constant, without which packages fail to be imported that open no socket then, and a function that
    needs none."""
    # Nothing here looks up names, of services or hosts, so there is nothing to ask for by it.
    socket.AI_NUMERICSERV = socket.AddressInfo(0)

    def inet_ntoa(packed_ip, /):
        """Convert an IP address from 32-bit packed binary format to string format."""
        if memoryview(packed_ip).nbytes != 4:
            raise OSError("packed IP wrong length for inet_ntoa")
        return socket.inet_ntop(socket.AF_INET, packed_ip)

    socket.inet_ntoa = inet_ntoa
