//! Reading and installing wheels of the machine that builds.
//!
//! See <https://packaging.python.org/en/latest/specifications/binary-distribution-format/> and
//! <https://packaging.python.org/en/latest/specifications/entry-points/>.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs_util;
use crate::source;

/// What a wheel requires: the values of `Requires-Dist` in its metadata.
pub(super) fn requirements(wheel: &Path) -> Result<Vec<String>> {
    let text = source::read_wheel_metadata(wheel)?;
    Ok(headers(&text, "Requires-Dist").map(str::to_owned).collect())
}

/// The values of a field in the headers of a metadata file.
fn headers<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().take_while(|line| !line.is_empty());
    lines.filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Puts a wheel's content into `site`, and programs for its entry points into `bin`, run by `python`.
pub(super) fn install(wheel: &Path, site: &Path, bin: &Path, python: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir_in(site).map_err(Error::io("create a directory in", site))?;
    source::unpack(wheel, unpacked.path())?;
    for path in fs_util::entries(unpacked.path())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".data") {
            install_data(&path, site, bin, python)?;
            continue;
        }
        if name.ends_with(".dist-info") {
            write_entry_points(&path.join("entry_points.txt"), bin, python)?;
        }
        merge(&path, &site.join(&name))?;
    }
    Ok(())
}

/// Takes out what a wheel keeps in its `.data` directory. Headers and data have no place in an isolated environment.
fn install_data(data: &Path, site: &Path, bin: &Path, python: &Path) -> Result<()> {
    for scheme in ["purelib", "platlib"].map(|it| data.join(it)).iter().filter(|it| it.is_dir()) {
        for path in fs_util::entries(scheme)? {
            merge(&path, &site.join(path.file_name().unwrap_or_default()))?;
        }
    }
    let scripts = data.join("scripts");
    if scripts.is_dir() {
        for path in fs_util::entries(&scripts)? {
            let to = bin.join(path.file_name().unwrap_or_default());
            let content = fs::read(&path).map_err(Error::io("read", &path))?;
            // The first line of a script for Python is to name the interpreter that it is installed for.
            let content = match content.strip_prefix(b"#!python") {
                Some(rest) => [format!("#!{}", python.display()).as_bytes(), rest].concat(),
                None => content,
            };
            write_program(&to, &content)?;
        }
    }
    Ok(())
}

/// Moves a file or directory to where there may be a directory already.
fn merge(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() && to.is_dir() {
        for path in fs_util::entries(from)? {
            merge(&path, &to.join(path.file_name().unwrap_or_default()))?;
        }
        return Ok(());
    }
    fs::rename(from, to).map_err(Error::io("create", to))
}

fn write_entry_points(file: &Path, bin: &Path, python: &Path) -> Result<()> {
    if !file.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(file).map_err(Error::io("read", file))?;
    for (name, module, object) in entry_points(&text) {
        let first = object.split('.').next().unwrap_or_default();
        let program = format!(
            "#!{}\nimport sys\nfrom {module} import {first}\nsys.exit({object}())\n",
            python.display()
        );
        write_program(&bin.join(name), program.as_bytes())?;
    }
    Ok(())
}

/// Names, modules and objects of the programs that `entry_points.txt` lists.
fn entry_points(text: &str) -> Vec<(&str, &str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name.trim();
        } else if section == "console_scripts"
            && let Some((name, reference)) = line.split_once('=')
            && let Some((module, object)) = reference.split_once(':')
        {
            // Extras may follow in brackets.
            let object = object.split('[').next().unwrap_or_default().trim();
            let name = name.trim();
            if !name.contains('/') {
                found.push((name, module.trim(), object));
            }
        }
    }
    found
}

fn write_program(path: &Path, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::write(path, content).map_err(Error::io("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::io("make executable", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_ends_at_the_first_empty_line() {
        let text = "Name: a\nRequires-Dist: b>=1\nrequires-dist: c ; extra == 'x'\n\nRequires-Dist: d\n";
        assert_eq!(headers(text, "Requires-Dist").collect::<Vec<_>>(), ["b>=1", "c ; extra == 'x'"]);
    }

    #[test]
    fn programs() {
        let text = "[gui_scripts]\nx = y:z\n\n[console_scripts]\ncython = Cython.Compiler.Main:setuptools_main\n../evil=a:b\nm=a.b:C.run [extra]\n";
        assert_eq!(
            entry_points(text),
            [("cython", "Cython.Compiler.Main", "setuptools_main"), ("m", "a.b", "C.run")]
        );
    }
}
