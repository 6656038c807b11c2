"""Two modules of CPython's own, which it is built without, since not every image needs OpenSSL."""

import os
import sysconfig

from setuptools import Extension, setup

modules = os.path.join(os.environ["FAASM_CPYTHON_SOURCE"], "Modules")


def extension(name, source):
    return Extension(
        name,
        [os.path.join(modules, source)],
        include_dirs=[modules, os.path.join(sysconfig.get_path("include"), "internal")],
        define_macros=[
            ("Py_BUILD_CORE_MODULE", "1"),
            # There is one thread, so OpenSSL is built without what makes it safe for several.
            ("OPENSSL_THREADS", "1"),
            # There are no sockets, and OpenSSL is built without them.
            ("SSL_set_fd(ssl, descriptor)", "0"),
        ],
        libraries=["ssl", "crypto"],
    )


setup(py_modules=[], ext_modules=[extension("_ssl", "_ssl.c"), extension("_hashlib", "_hashopenssl.c")])
