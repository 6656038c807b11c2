//! Unpacking wheels in pure Python.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::build::Package;
use crate::cache::Key;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;
use crate::source;
use crate::source::pin::{Mirror, Pin};

/// Raised when what is done here changes the result.
const RECIPE: &str = "1";

/// A wheel of the index, unpacked in the cache.
///
/// # Errors
///
/// When the wheel cannot be had, has another hash, or holds something else than its `RECORD` says.
pub(super) fn unpacked(cx: &Context, name: &str, version: &str, file: &str, sha256: &str) -> Result<Package> {
    let key = Key::new().value("recipe", RECIPE).value("sha256", sha256);
    let directory = cx.entry("wheel", &format!("{name}-{version}"), &key, |directory| {
        let mirrors = [Mirror::PythonIndex { project: name }];
        let wheel = source::fetch(cx, &Pin { name, version, file, sha256, mirrors: &mirrors })?;
        install(&wheel, &directory.join("site"))
    })?;
    Ok(Package::unpacked(name, version, directory, key))
}

/// Unpacks a wheel into a directory that is not there yet.
pub(super) fn install(wheel: &Path, directory: &Path) -> Result<()> {
    let parent = directory.parent().unwrap_or(directory);
    let unpacked = tempfile::tempdir_in(parent).map_err(Error::io("create a directory in", parent))?;
    source::unpack(wheel, unpacked.path())?;
    let refuse = |reason: String| Error::Unpack { archive: wheel.to_path_buf(), reason };
    let files = files(unpacked.path())?;
    let mut records =
        files.iter().filter(|it| it.ends_with(".dist-info/RECORD") && it.matches('/').count() == 1);
    let (Some(record), None) = (records.next(), records.next()) else {
        return Err(refuse("it is no wheel, because it does not have one RECORD".to_owned()));
    };
    check(unpacked.path(), &files, record).map_err(refuse)?;
    for file in &files {
        let Some(place) = place(file) else { continue };
        let to = directory.join(place);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        }
        fs_util::link_or_copy(&unpacked.path().join(file), &to)?;
    }
    Ok(())
}

/// Compares what was unpacked with the wheel's own list: nothing may be missing, changed or in addition.
///
/// See <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>.
fn check(root: &Path, files: &[String], record: &str) -> Result<(), String> {
    let text = fs::read_to_string(root.join(record)).map_err(|error| format!("{record}: {error}"))?;
    let mut listed: BTreeMap<String, String> =
        text.lines().filter(|it| !it.trim().is_empty()).map(split_line).collect();
    for file in files {
        // Signatures and the list itself cannot be in it.
        let exempt = file == record || *file == format!("{record}.jws") || *file == format!("{record}.p7s");
        let Some(hash) = listed.remove(file) else {
            if exempt {
                continue;
            }
            return Err(format!("{file} is not in its RECORD"));
        };
        if exempt {
            continue;
        }
        let content = fs::read(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
        // Python's own tools write no other hash, and weaker ones are forbidden.
        if hash.strip_prefix("sha256=").map(|it| it.trim_end_matches('=')) != Some(digest.as_str()) {
            return Err(format!("{file} is not what its RECORD says"));
        }
    }
    // Some tools list directories.
    match listed.keys().find(|it| !it.ends_with('/')) {
        Some(file) => Err(format!("{file} is missing, which its RECORD has")),
        None => Ok(()),
    }
}

/// A line of `RECORD` for a file with this content.
pub(super) fn record_line(path: &str, content: &[u8]) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
    format!("{},sha256={digest},{}\n", quoted(path), content.len())
}

/// A field of CSV.
pub(super) fn quoted(path: &str) -> String {
    if path.contains([',', '"']) { format!("\"{}\"", path.replace('"', "\"\"")) } else { path.to_owned() }
}

/// A line of CSV: path and hash.
fn split_line(line: &str) -> (String, String) {
    let (path, rest) = match line.strip_prefix('"') {
        // Within quotes, a quote is written twice.
        Some(quoted) => {
            let mut path = String::new();
            let mut parts = quoted.split('"').peekable();
            let mut rest = "";
            while let Some(part) = parts.next() {
                path.push_str(part);
                match parts.next() {
                    Some("") if parts.peek().is_some() => path.push('"'),
                    Some(after) => {
                        rest = after.trim_start_matches(',');
                        break;
                    }
                    None => break,
                }
            }
            (path, rest)
        }
        None => {
            let (path, rest) = line.split_once(',').unwrap_or((line, ""));
            (path.to_owned(), rest)
        }
    };
    (path, rest.split(',').next().unwrap_or_default().to_owned())
}

/// Where a wheel's file is put below `site-packages`; `None` if it belongs elsewhere, such as programs and headers.
fn place(file: &str) -> Option<&str> {
    match file.split_once('/') {
        Some((top, rest)) if top.ends_with(".data") => {
            rest.strip_prefix("purelib/").or_else(|| rest.strip_prefix("platlib/"))
        }
        _ => Some(file),
    }
}

/// The paths of all files below a directory, with `/`, sorted.
fn files(root: &Path) -> Result<Vec<String>> {
    fn walk(root: &Path, directory: &Path, files: &mut Vec<String>) -> Result<()> {
        for path in fs_util::entries(directory)? {
            if path.is_dir() {
                walk(root, &path, files)?;
            } else if let Ok(relative) = path.strip_prefix(root) {
                files.push(relative.to_string_lossy().into_owned());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::PathBuf;

    /// A wheel with these files; each is in RECORD unless `spoil` makes something else of its line.
    fn wheel(directory: &Path, files: &[(&str, &str)], spoil: impl Fn(&str, String) -> String) -> PathBuf {
        let path = directory.join("a-1-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        let mut record = String::new();
        for (name, text) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
            record.push_str(&spoil(name, record_line(name, text.as_bytes())));
        }
        record.push_str("a-1.dist-info/RECORD,,\n");
        zip.start_file("a-1.dist-info/RECORD", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(record.as_bytes()).unwrap();
        zip.finish().unwrap();
        path
    }

    const FILES: [(&str, &str); 6] = [
        ("a/__init__.py", "x = 1"),
        ("a/odd \"name\", really.txt", "odd"),
        ("a-1.data/purelib/b.py", "y"),
        ("a-1.data/scripts/run", "z"),
        ("a-1.dist-info/METADATA", "Name: a"),
        ("a-1.dist-info/RECORD.jws", "signature"),
    ];

    #[test]
    fn what_is_needed_is_installed() {
        let directory = tempfile::tempdir().unwrap();
        let wheel = wheel(directory.path(), &FILES, |_, line| line);
        let site = directory.path().join("site");
        install(&wheel, &site).unwrap();
        let expected = [
            "a-1.dist-info/METADATA",
            "a-1.dist-info/RECORD",
            "a-1.dist-info/RECORD.jws",
            "a/__init__.py",
            "a/odd \"name\", really.txt",
            "b.py",
        ];
        assert_eq!(files(&site).unwrap(), expected);
    }

    #[test]
    fn what_differs_from_the_record_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for (part, spoil) in [
            (
                "a/__init__.py is not in its RECORD",
                Box::new(
                    |name: &str, line: String| if name == "a/__init__.py" { String::new() } else { line },
                ) as Box<dyn Fn(&str, String) -> String>,
            ),
            (
                "a/__init__.py is not what",
                Box::new(
                    |name, line| {
                        if name == "a/__init__.py" { line.replace("sha256=", "sha256=x") } else { line }
                    },
                ),
            ),
            (
                "a/__init__.py is not what",
                Box::new(
                    |name, line| if name == "a/__init__.py" { "a/__init__.py,,\n".to_owned() } else { line },
                ),
            ),
            (
                "a/gone.py is missing",
                Box::new(|name, line| {
                    if name == "a/__init__.py" { format!("{line}a/gone.py,sha256=x,1\n") } else { line }
                }),
            ),
        ] {
            let wheel = wheel(directory.path(), &FILES, spoil);
            let site = tempfile::tempdir().unwrap();
            let error = install(&wheel, &site.path().join("site")).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
