"""What programs expect of `ctypes.util` where there are no shared libraries."""


def install(util):
    """Adds to the module `ctypes.util` the function of CPython 3.14 that lists the libraries that are loaded. threadpoolctl, which
    scikit-learn calls whenever it computes, asks it if it is there, and warns otherwise."""

    def dllist():
        """Return a list of loaded shared libraries in the current process."""
        return []

    util.dllist = dllist
