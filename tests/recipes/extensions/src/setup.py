from setuptools import Extension, setup

# Two modules with the same names of everything, and a C library that both are linked with.
setup(
    ext_modules=[
        Extension(f"extensions.{name}._native", ["native.c"], define_macros=[("NUMBER", number)], libraries=["greeting"])
        for name, number in [("one", "1"), ("two", "2")]
    ]
    + [Extension("extensions._cpp", ["cpp.cpp"])],
)
