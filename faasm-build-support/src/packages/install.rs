//! What of a package goes into an image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use faasm_recipe::Build;

use super::imports;
use crate::error::{Error, Result};
use crate::fs_util;

/// Files that only people, type checkers and compilers read.
const LEFT_OUT_EXTENSIONS: [&str; 9] = ["a", "c", "cpp", "h", "hpp", "pxd", "pyi", "pyx", "so"];

/// Puts what is below `site` into `root`, without what no program needs. Which tests are among that, `build` says.
pub(crate) fn install(site: &Path, root: &Path, build: &Build) -> Result<()> {
    fs::create_dir_all(root).map_err(Error::io("create the directory", root))?;
    for_each(site, build, &mut |path, relative| {
        let to = root.join(relative);
        let parent = to.parent().unwrap_or(root);
        fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        fs_util::link_or_copy(path, &to)
    })
}

/// The bytes of what [`install`] puts into an image.
pub(crate) fn size(site: &Path, build: &Build) -> Result<u64> {
    let mut size = 0;
    for_each(site, build, &mut |path, _| {
        size += path.metadata().map_err(Error::io("read", path))?.len();
        Ok(())
    })?;
    Ok(size)
}

/// Calls `act` with each file that is needed, and its path below `site`.
fn for_each(site: &Path, build: &Build, act: &mut impl FnMut(&Path, &str) -> Result<()>) -> Result<()> {
    let mut files = Vec::new();
    list(site, "", false, &mut files)?;
    let imported = imported(site, &files)?;
    for file in files {
        let is_imported = || imported.iter().any(|it| file.relative.starts_with(it));
        if !is_test(&file.relative, file.in_tests, build) || is_imported() {
            act(&site.join(&file.relative), &file.relative)?;
        }
    }
    Ok(())
}

/// A file of a package.
struct File {
    /// Its path below that of the package.
    relative: String,
    /// Whether it is within a directory of tests.
    in_tests: bool,
}

/// Finds the files that others read than people and compilers. `prefix` is the path of `directory`, with a slash at its end.
fn list(directory: &Path, prefix: &str, in_tests: bool, files: &mut Vec<File>) -> Result<()> {
    for path in fs_util::entries(directory)? {
        let name = path.file_name().unwrap_or_default();
        let relative = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() {
            if name != "__pycache__" {
                // At the top, a directory of that name is a package that people ask for by it, as is a module.
                let is_below = !prefix.is_empty();
                let has_tests = name == "tests" || (name == "test" && has_tests(&path)?);
                list(&path, &format!("{relative}/"), in_tests || (is_below && has_tests), files)?;
            }
        } else if !is_left_out(&path) {
            files.push(File { relative, in_tests });
        }
    }
    Ok(())
}

/// The beginnings of the paths of tests that packages import when they are imported, as those of bottleneck and SQLAlchemy do: by the
/// `__init__.py` of what is no test, and by the tests that are imported. What only other modules import is not looked for, since most of
/// these are benchmarks and the like.
fn imported(site: &Path, files: &[File]) -> Result<BTreeSet<String>> {
    let mut imported = BTreeSet::new();
    let (mut next, mut rest): (Vec<&File>, Vec<&File>) = files
        .iter()
        .filter(|it| it.relative.ends_with(".py"))
        .partition(|it| !it.in_tests && it.relative.ends_with("/__init__.py"));
    while !next.is_empty() {
        for File { relative, .. } in next {
            let text = fs::read(site.join(relative)).map_err(Error::io("read", site.join(relative)))?;
            imported.extend(imported_tests(&String::from_utf8_lossy(&text), relative));
        }
        (next, rest) =
            rest.into_iter().partition(|file| imported.iter().any(|it| file.relative.starts_with(it)));
    }
    Ok(imported)
}

/// The tests among what a module imports: directories with a slash at their ends, and files. `relative` is the module's path.
fn imported_tests(text: &str, relative: &str) -> Vec<String> {
    let mut tests = Vec::new();
    for module in imports::imported(text, relative) {
        let mut path = String::new();
        for (depth, part) in module.split('.').enumerate() {
            path.push_str(part);
            if depth > 0 && is_test_module(part) {
                tests.push(format!("{path}.py"));
            }
            path.push('/');
            if depth > 0 && ["test", "tests"].contains(&part) {
                tests.push(path);
                break;
            }
        }
    }
    tests
}

fn is_test_module(name: &str) -> bool {
    name == "conftest" || name.starts_with("test_")
}

fn is_left_out(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    LEFT_OUT_EXTENSIONS.iter().any(|it| extension == *it)
}

/// Whether there are modules below a directory that are named as tests are. A package `test` can be one for whoever writes tests:
/// Django has such.
fn has_tests(directory: &Path) -> Result<bool> {
    for path in fs_util::entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test =
            name.strip_suffix(".py").is_some_and(|it| it.starts_with("test_") || it.ends_with("_test"));
        if is_test || (path.is_dir() && has_tests(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file below `site-packages` is a test, which images do not need: what is in a directory of tests of a package,
/// `conftest.py`, and modules `test_…`, as pyodide-build has it. A recipe may keep some, or all.
fn is_test(path: &str, in_tests: bool, build: &Build) -> bool {
    if !build.unvendor_tests || build.retain_test_patterns.iter().any(|it| matches(it, path)) {
        return false;
    }
    let is_module =
        path.rsplit_once('/').and_then(|(_, file)| file.strip_suffix(".py")).is_some_and(is_test_module);
    in_tests || is_module
}

/// Whether a path, or its last part, fits a pattern with `*` for any characters and `?` for one.
fn matches(pattern: &str, path: &str) -> bool {
    let fits = |text: &str| fits(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
    fits(path) || path.rsplit('/').next().is_some_and(fits)
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    // Where to go on when what follows the last `*` does not fit.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((after, at)) => {
                    *at += 1;
                    (p, t) = (*after, *at);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|it| *it == '*')
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
            "a/b/test/c/test_d.py",
            "a/b/test/data",
            "a/test/client.py",
            "tests/t.py",
            "a/conftest.py",
            "a/include/a.h",
            "a/testing/y.py",
            "a/data.json",
        ] {
            let path = site.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let installed = |tests: bool| {
            let root = directory.path().join(format!("root-{tests}"));
            install(&site, &root, &Build { unvendor_tests: !tests, ..Build::default() }).unwrap();
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
            assert_eq!(
                size(&site, &Build { unvendor_tests: !tests, ..Build::default() }).unwrap(),
                all.len() as u64
            );
            all
        };
        let needed = ["a/data.json", "a/test/client.py", "a/testing/y.py", "a/x.py", "tests/t.py"];
        assert_eq!(installed(false), needed);
        let mut all = vec!["a/b/test/c/test_d.py", "a/b/test/data", "a/conftest.py", "a/tests/t.py"];
        all.extend(needed);
        all.sort_unstable();
        assert_eq!(installed(true), all);
    }

    #[test]
    fn tests_that_are_imported_are_known() {
        for (text, expected) in [
            ("from a.b.tests.util import get", &["a/b/tests/"][..]),
            ("from . import tests, x", &["a/b/tests/"]),
            ("from ..test.test_deep import x", &["a/test/"]),
            ("from .test_x import *", &["a/b/test_x.py"]),
            ("from .test_x.test_y import z", &["a/b/test_x.py", "a/b/test_x/test_y.py"]),
            ("from .test_x import tests", &["a/b/test_x.py", "a/b/test_x/tests/"]),
            ("from .conftest import x", &["a/b/conftest.py"]),
            ("from .testing import x", &[]),
            ("import tests.x, test_x", &[]),
        ] {
            assert_eq!(imported_tests(text, "a/b/__init__.py"), expected, "{text}");
        }
    }

    #[test]
    fn tests_that_are_imported_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let site = directory.path().join("site");
        for (path, text) in [
            ("a/__init__.py", "from a.tests.util import x\nfrom .test_tool import z"),
            ("a/test_tool.py", "from .d.tests import z"),
            ("a/test_else.py", ""),
            ("a/d/tests/__init__.py", "z = 1"),
            ("a/tests/util.py", "from .deep import y"),
            ("a/tests/deep/__init__.py", "y = 1"),
            ("a/b/tests/x.py", "from a.c.tests import x"),
            ("a/bench.py", "from a.c.tests import x"),
            ("a/c/tests/x.py", ""),
        ] {
            let path = site.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = directory.path().join("root");
        install(&site, &root, &Build::default()).unwrap();
        for (path, is_there) in [
            ("a/test_tool.py", true),
            ("a/test_else.py", false),
            ("a/d/tests/__init__.py", true),
            ("a/tests/util.py", true),
            ("a/tests/deep/__init__.py", true),
            ("a/b/tests", false),
            ("a/c", false),
        ] {
            assert_eq!(root.join(path).exists(), is_there, "{path}");
        }
    }

    #[test]
    fn tests_are_told_apart() {
        let build = Build {
            retain_test_patterns: vec!["*/tests/data/*".to_owned(), "test_kept?.py".to_owned()],
            ..Build::default()
        };
        for (path, in_tests, expected) in [
            ("a/tests/x.py", true, true),
            ("a/b/test/x.dat", true, true),
            ("a/conftest.py", false, true),
            ("a/test_x.py", false, true),
            ("a/testing.py", false, false),
            ("test_top.py", false, false),
            ("a/tests/data/x", true, false),
            ("a/tests/test_kept1.py", true, false),
            ("a/tests/test_kept12.py", true, true),
            ("a/x.py", false, false),
        ] {
            assert_eq!(is_test(path, in_tests, &build), expected, "{path}");
        }
        assert!(!is_test("a/tests/x.py", true, &Build { unvendor_tests: false, ..Build::default() }));
    }
}
