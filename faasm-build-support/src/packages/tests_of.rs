//! Which files of a package are its tests.

use faasm_recipe::Build;

/// Whether a file below `site-packages` is a test, which images do not need: what is in a directory `test` or `tests` of a
/// package, `conftest.py`, and modules `test_…`, as pyodide-build has it. A recipe may keep some, or all.
pub(crate) fn is_test(path: &str, build: &Build) -> bool {
    if !build.unvendor_tests || build.retain_test_patterns.iter().any(|it| matches(it, path)) {
        return false;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    // At the top, a directory of that name is a package that people ask for by it, as is a module.
    let in_tests = parts.iter().skip(1).any(|it| ["test", "tests"].contains(it));
    let is_module = file == "conftest.py" || (file.starts_with("test_") && file.ends_with(".py"));
    in_tests || (is_module && !parts.is_empty())
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
    fn tests_are_told_apart() {
        let build = Build {
            retain_test_patterns: vec!["*/tests/data/*".to_owned(), "test_kept?.py".to_owned()],
            ..Build::default()
        };
        for (path, expected) in [
            ("a/tests/x.py", true),
            ("a/b/test/x.dat", true),
            ("a/conftest.py", true),
            ("a/test_x.py", true),
            ("a/testing.py", false),
            ("a/testing/x.py", false),
            ("tests/__init__.py", false),
            ("test_top.py", false),
            ("a/tests/data/x", false),
            ("a/tests/test_kept1.py", false),
            ("a/tests/test_kept12.py", true),
            ("a/x.py", false),
        ] {
            assert_eq!(is_test(path, &build), expected, "{path}");
        }
        assert!(!is_test("a/tests/x.py", &Build { unvendor_tests: false, ..Build::default() }));
    }
}
