//! What of a package goes into an image.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs_util;

/// Files that only people, type checkers and compilers read.
const LEFT_OUT_EXTENSIONS: [&str; 8] = ["a", "c", "h", "hpp", "pxd", "pyi", "pyx", "so"];

/// Directories with tests, as packages name them.
const TEST_DIRECTORIES: [&str; 2] = ["test", "tests"];

/// Puts what is below `site` into `root`, without what no program needs. Tests are left out unless `tests` says otherwise.
pub(crate) fn install(site: &Path, root: &Path, tests: bool) -> Result<()> {
    fs::create_dir_all(root).map_err(Error::io("create the directory", root))?;
    for entry in fs::read_dir(site).map_err(Error::io("read the directory", site))? {
        let entry = entry.map_err(Error::io("read the directory", site))?;
        let (path, name) = (entry.path(), entry.file_name());
        let to = root.join(&name);
        if path.is_dir() {
            let is_test = TEST_DIRECTORIES.iter().any(|it| name == *it);
            if name != "__pycache__" && (tests || !is_test) {
                install(&path, &to, tests)?;
            }
        } else if !is_left_out(&path, tests) {
            fs_util::link_or_copy(&path, &to)?;
        }
    }
    // A directory of headers alone leaves nothing. `fs::remove_dir` refuses others.
    let _ = fs::remove_dir(root);
    Ok(())
}

fn is_left_out(path: &Path, tests: bool) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    LEFT_OUT_EXTENSIONS.iter().any(|it| extension == *it) || (!tests && name == "conftest.py")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_headers_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let site = directory.path().join("site");
        for path in [
            "a/x.py",
            "a/x.pyi",
            "a/tests/t.py",
            "a/conftest.py",
            "a/include/a.h",
            "a/testing/y.py",
            "a/data.json",
        ] {
            let path = site.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let installed = |tests| {
            let root = directory.path().join(format!("root-{tests}"));
            install(&site, &root, tests).unwrap();
            let mut all: Vec<String> = Vec::new();
            let mut pending = vec![root.clone()];
            while let Some(directory) = pending.pop() {
                for entry in fs::read_dir(directory).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        pending.push(path);
                    } else {
                        all.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                    }
                }
            }
            all.sort();
            assert!(!root.join("a/include").exists());
            all
        };
        assert_eq!(installed(false), ["a/data.json", "a/testing/y.py", "a/x.py"]);
        assert_eq!(
            installed(true),
            ["a/conftest.py", "a/data.json", "a/testing/y.py", "a/tests/t.py", "a/x.py"]
        );
    }
}
