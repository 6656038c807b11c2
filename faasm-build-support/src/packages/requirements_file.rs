//! Requirements in the files that Python projects have: `requirements.txt` and `pyproject.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use faasm_recipe::Requirement;
use serde::Deserialize;

use super::hashes::Hashes;
use crate::error::{Error, Result};

/// How deep files may name each other.
const MAX_DEPTH: usize = 8;

/// What files say.
#[derive(Debug, Default)]
pub(super) struct Requirements {
    /// What they require.
    pub(super) required: Vec<Requirement>,
    /// The hashes that files of packages may have, by the packages' normalised names, if not any will do.
    pub(super) hashes: BTreeMap<String, Hashes>,
    /// What was read.
    pub(super) files: Vec<PathBuf>,
}

/// Adds the requirements in a file: `project.dependencies` of a `.toml`, the lines of any other. `-r` in the latter names a further
/// file, and `--hash` a hash.
///
/// # Errors
///
/// When the file cannot be read, or says something that is neither a requirement nor without effect here.
pub(super) fn read(path: &Path, found: &mut Requirements) -> Result<()> {
    if path.extension().is_some_and(|it| it == "toml") {
        found.files.push(path.to_path_buf());
        found.required.extend(in_project(path)?);
        return Ok(());
    }
    in_lines(path, 0, found)
}

/// See <https://packaging.python.org/en/latest/specifications/pyproject-toml/#dependencies-optional-dependencies>.
fn in_project(path: &Path) -> Result<Vec<Requirement>> {
    #[derive(Deserialize)]
    struct PyProject {
        project: Option<Project>,
    }
    #[derive(Deserialize)]
    struct Project {
        #[serde(default)]
        dependencies: Vec<String>,
        #[serde(default)]
        dynamic: Vec<String>,
    }
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let refuse = |reason: String| Error::Manifest { path: path.to_path_buf(), reason };
    let file: PyProject = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    let project = file
        .project
        .ok_or_else(|| refuse("there is no `[project]`, and only its `dependencies` are read".to_owned()))?;
    if project.dynamic.iter().any(|it| it == "dependencies") {
        return Err(refuse("its `dependencies` are `dynamic`: only its build knows them".to_owned()));
    }
    let parse = |text: &String| text.parse().map_err(|error| refuse(format!("cannot {error}")));
    project.dependencies.iter().map(parse).collect()
}

/// See <https://pip.pypa.io/en/stable/reference/requirements-file-format/>.
fn in_lines(path: &Path, depth: usize, found: &mut Requirements) -> Result<()> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    found.files.push(path.to_path_buf());
    let mut pending = String::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let refuse = |reason: String| Error::Manifest {
            path: path.to_path_buf(),
            reason: format!("line {}: {reason}", number + 1),
        };
        // A comment goes on to the end of its line, whatever is there, and what is last has nothing to go on with.
        let goes_on = line.strip_suffix('\\').filter(|it| without_comment(it) == *it);
        pending.push_str(goes_on.unwrap_or(line));
        if goes_on.is_some() && lines.peek().is_some() {
            continue;
        }
        let whole = std::mem::take(&mut pending);
        let line = without_comment(&whole).trim();
        // Options of a requirement follow it; `--hash` is the usual one.
        let (line, options) = line.split_once(" --").unwrap_or((line, ""));
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if let Some(file) = option(line, &["-r", "--requirement"]) {
            if depth >= MAX_DEPTH {
                return Err(refuse(format!("`{file}` is one file too deep; do they name each other?")));
            }
            let path = path.parent().unwrap_or(Path::new("")).join(file);
            in_lines(&path, depth + 1, found)?;
        } else if line.starts_with('-') {
            return Err(refuse(format!(
                "the option `{line}` is not supported; packages come from recipes and the package index of this machine"
            )));
        } else {
            let requirement: Requirement = line.parse().map_err(|error| refuse(format!("cannot {error}")))?;
            let hashes = options.split(" --").filter_map(|it| option(it.trim(), &["hash"]));
            let (known, others): (Vec<&str>, Vec<&str>) = hashes.partition(|it| it.starts_with("sha256:"));
            if let ([], [other, ..]) = (known.as_slice(), others.as_slice()) {
                return Err(refuse(format!(
                    "`{other}` is not compared, and there is no hash `sha256:…` beside it"
                )));
            }
            if !known.is_empty() {
                let none = || Hashes { path: path.to_path_buf(), sha256: BTreeSet::new() };
                let hashes = found.hashes.entry(requirement.name.clone()).or_insert_with(none);
                hashes.sha256.extend(known.iter().map(|it| it.trim_start_matches("sha256:").to_lowercase()));
            }
            found.required.push(requirement);
        }
    }
    Ok(())
}

/// A `#` begins a comment at the beginning of a line and after white space.
fn without_comment(line: &str) -> &str {
    let begins =
        |at: usize| line.get(..at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']));
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| begins(*at));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

fn option<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let rest = line.strip_prefix(name)?;
        let value = rest.trim_start_matches(['=', ' ', '\t']);
        (!value.is_empty() && !rest.starts_with('-')).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("more.txt"), "six\n-r more-still.txt\n").unwrap();
        fs::write(directory.path().join("more-still.txt"), "attrs\n").unwrap();
        fs::write(directory.path().join("loop.txt"), "-r loop.txt\n").unwrap();
        fs::write(directory.path().join(name), text).unwrap();
        let mut found = Requirements::default();
        read(&directory.path().join(name), &mut found)?;
        let hashes = |name: &String| {
            let hashes = found.hashes.get(name).into_iter().flat_map(|it| &it.sha256);
            hashes.map(|it| format!(" {it}")).collect::<String>()
        };
        let texts = found.required.iter().map(|it| format!("{it}{}", hashes(&it.name)));
        Ok(texts.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn requirements_are_found() {
        for (name, text, expected) in [
            (
                "requirements.txt",
                "# comment\n\nNumPy>=2 # why\n  pyyaml==6.0 ; python_version > '3'\n",
                "numpy>=2, pyyaml==6.0; python_version > '3'",
            ),
            (
                "requirements.txt",
                "a==1 \\\n  --hash=sha256:0A \\\n  --hash sha256:11 --hash=sha512:2\nb --config-settings=x\n",
                "a==1 0a 11, b",
            ),
            (
                "r.in",
                "-r more.txt\n--requirement=more-still.txt\nb @ https://x/#egg=b\n",
                "six, attrs, attrs, b @ https://x/#egg=b",
            ),
            (
                "pyproject.toml",
                "[project]\nname = 'x'\ndependencies = ['a>=1', 'b']\n[tool.x]\ny = 1",
                "a>=1, b",
            ),
            ("pyproject.toml", "[project]\nname = 'x'\n", ""),
            ("requirements.txt", "# Windows: C:\\\nsix\nb # too \\\nattrs\\", "six, b, attrs"),
            ("requirements.txt", "\u{feff}six\r\nattrs\r\n", "six, attrs"),
        ] {
            assert_eq!(read_text(name, text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (name, text, part) in [
            ("requirements.txt", "a\n./local\n", "line 2: cannot use the requirement `./local`"),
            ("requirements.txt", "-e .\n", "line 1: the option `-e .`"),
            ("requirements.txt", "--index-url https://x\n", "--index-url"),
            ("requirements.txt", "a==1 --hash=md5:00\n", "line 1: `md5:00` is not compared"),
            ("requirements.txt", "-r loop.txt\n", "name each other"),
            ("requirements.txt", "-r missing.txt\n", "missing.txt"),
            ("pyproject.toml", "[project]\ndependencies = ['a b']", "`a b`"),
            ("pyproject.toml", "[project", "pyproject.toml"),
            ("pyproject.toml", "[tool.poetry.dependencies]\nsix = '*'\n", "there is no `[project]`"),
            ("pyproject.toml", "[project]\ndynamic = ['version', 'dependencies']\n", "`dynamic`"),
        ] {
            let error = read_text(name, text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
