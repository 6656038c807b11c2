//! The sources of the guest, for tools that link one: what this package has in `guest/` and `python/`.

macro_rules! files {
    ($directory:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../", $directory, "/", $name)))),+]
    };
}

/// Names and contents of C files and headers.
pub const GUEST_SOURCES: &[(&str, &str)] =
    files!("guest": "_faasm.c", "faasm.h", "heap.c", "heap.h", "py_func.c", "wasi.c", "wasi.h");

/// Paths below `site-packages`, and contents.
pub const PYTHON_SOURCES: &[(&str, &str)] = files!(
    "python": "_faasm_stdlib/__init__.py", "_faasm_stdlib/libraries.py", "_faasm_stdlib/loop.py",
    "_faasm_stdlib/processes.py", "_faasm_stdlib/sockets.py", "_faasm_stdlib/threads.py", "faasm/__init__.py",
    "faasm/_guest.py", "faasm/_local.py", "faasm/_numpy.py", "faasm/logging.py", "faasm/py.typed", "faasm/state.py",
    "faasm/testing.py", "fcntl.py", "mmap.py", "pwd.py", "pyfaasm/__init__.py", "pyfaasm/_numpy_blocks.py", "pyfaasm/_plain_blocks.py",
    "pyfaasm/config.py", "pyfaasm/core.py", "pyfaasm/matrix.py", "pyfaasm/matrix_data.py"
);

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn names(root: &Path, directory: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("__pycache__") {
                self::names(root, &path, names);
            } else if path.is_file() {
                names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn no_file_is_forgotten() {
        for (directory, sources) in [("guest", super::GUEST_SOURCES), ("python", super::PYTHON_SOURCES)] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
            let mut there = Vec::new();
            names(&root, &root, &mut there);
            there.sort();
            let listed: Vec<&str> = sources.iter().map(|(name, _)| *name).collect();
            assert_eq!(listed, there, "of {directory}/");
        }
    }
}
