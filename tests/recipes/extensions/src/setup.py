import os
import subprocess
import tempfile

from setuptools import Extension, setup

# Build systems find out whether there is a library by linking programs with it, in either language.
with tempfile.TemporaryDirectory() as directory:
    for compiler, source in [("CC", "int main(void) { return 0; }"), ("CXX", "#include <string>\nint main() { return std::string(\"a\").size(); }")]:
        path = os.path.join(directory, "probe.c" if compiler == "CC" else "probe.cpp")
        with open(path, "w") as file:
            file.write(source)
        subprocess.run([os.environ[compiler], path, "-lgreeting", "-o", os.path.join(directory, "probe")], check=True)

# Two modules with the same names of everything, and a C library that both are linked with. The package of the second has nothing else.
setup(
    ext_modules=[
        Extension(f"extensions.{name}._native", ["native.c"], define_macros=[("NUMBER", number)], libraries=["greeting"])
        for name, number in [("one", "1"), ("two", "2")]
    ]
    + [Extension("extensions._cpp", ["cpp.cpp"])],
)
