//! What a file's name says: `name-version(-build)-python-abi-platform.whl`, `name-version.tar.gz`.
//!
//! See <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention> and
//! <https://packaging.python.org/en/latest/specifications/source-distribution-format/>.

use std::str::FromStr as _;

use pep440_rs::Version;

use crate::cpython;

/// The platform of wheels with modules that were built for images.
const PLATFORM: &str = "wasi_wasm32";

/// The tags of wheels with modules that were built for images.
pub(crate) fn own_tags() -> String {
    let python = format!("cp{}", cpython::SHORT_VERSION.replace('.', ""));
    format!("{python}-{python}-{PLATFORM}")
}

/// Whether images can have this wheel: one in pure Python, or one that was built for them.
pub(crate) fn is_for_images(file: &str) -> bool {
    let own = file.strip_suffix(".whl").and_then(|it| it.strip_suffix(&own_tags()));
    pure_wheel(file).is_some() || own.is_some_and(|it| it.ends_with('-'))
}

/// The version of a wheel that is pure Python and runs on our CPython. `None` for every other file.
pub(crate) fn pure_wheel(file: &str) -> Option<Version> {
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    let (version, [python, abi, platform]) = match parts.as_slice() {
        [_, version, tags @ ..] | [_, version, _, tags @ ..] if tags.len() == 3 => {
            (version, <[&str; 3]>::try_from(tags).ok()?)
        }
        _ => return None,
    };
    let pure = abi.split('.').any(|it| it == "none") && platform.split('.').any(|it| it == "any");
    (pure && python.split('.').any(runs)).then(|| Version::from_str(version).ok()).flatten()
}

/// Like [`pure_wheel`], of the project with this normalised name: an index may list others on its page.
pub(crate) fn pure_wheel_of(project: &str, file: &str) -> Option<Version> {
    let name = file.split('-').next().and_then(faasm_recipe::normalized)?;
    (name == project).then(|| pure_wheel(file)).flatten()
}

/// Whether our CPython runs what has this tag: the tag of its own version, or one of Python 3 up to it.
fn runs(tag: &str) -> bool {
    let ours = cpython::SHORT_VERSION.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    match tag.strip_prefix("py3") {
        Some("") => true,
        Some(minor) => minor.parse::<u32>().is_ok_and(|minor| Some(minor) <= ours),
        None => tag == format!("cp3{}", ours.unwrap_or_default()),
    }
}

/// The version of a source archive of the project with this normalised name that can be unpacked.
pub(crate) fn source_archive(project: &str, file: &str) -> Option<Version> {
    let stem = [".tar.gz", ".zip", ".tar.xz", ".tgz"].iter().find_map(|it| file.strip_suffix(it))?;
    // The name may have dashes of its own, and so may an old version.
    stem.match_indices('-').find_map(|(at, _)| {
        let (name, version) = (stem.get(..at)?, stem.get(at + 1..)?);
        (faasm_recipe::normalized(name)? == project).then(|| Version::from_str(version).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels() {
        for (file, expected) in [
            ("six-1.17.0-py2.py3-none-any.whl", Some("1.17.0")),
            ("a-1-py3-none-any.whl", Some("1")),
            ("a-1-2build-py3-none-any.whl", Some("1")),
            ("a-1-py312-none-any.whl", Some("1")),
            ("a-1-cp313-none-any.whl", Some("1")),
            ("a-1-py314-none-any.whl", None),
            ("a-1-cp312-none-any.whl", None),
            ("a-1-py2-none-any.whl", None),
            ("a-1-cp313-cp313-manylinux_2_17_x86_64.whl", None),
            ("a-1-py3-none-manylinux_2_17_x86_64.whl", None),
            ("a-x-py3-none-any.whl", None),
            ("a-py3-none-any.whl", None),
            ("a.tar.gz", None),
            (".whl", None),
        ] {
            assert_eq!(pure_wheel(file).map(|it| it.to_string()).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn wheels_of_a_project() {
        for (project, file, expected) in [
            ("ruamel-yaml", "ruamel.yaml-0.18-py3-none-any.whl", true),
            ("ruamel-yaml", "Ruamel_Yaml-0.18-py3-none-any.whl", true),
            ("ruamel", "ruamel.yaml-0.18-py3-none-any.whl", false),
            ("foreign", "other_thing-9-py3-none-any.whl", false),
        ] {
            assert_eq!(pure_wheel_of(project, file).is_some(), expected, "{file}");
        }
    }

    #[test]
    fn wheels_for_images() {
        for (file, expected) in [
            ("a-1-cp313-cp313-wasi_wasm32.whl", true),
            ("a-1-py3-none-any.whl", true),
            ("a-1-cp312-cp312-wasi_wasm32.whl", false),
            ("a-1-xcp313-cp313-wasi_wasm32.whl", false),
            ("a-1-cp313-cp313-linux_x86_64.whl", false),
            ("a-1-cp313-cp313-wasi_wasm32.zip", false),
        ] {
            assert_eq!(is_for_images(file), expected, "{file}");
        }
    }

    #[test]
    fn source_archives() {
        for (project, file, expected) in [
            ("pyyaml", "PyYAML-6.0.tar.gz", Some("6.0")),
            ("ruamel-yaml", "ruamel.yaml-0.18.zip", Some("0.18")),
            ("a-b", "a-b-1.0.tar.gz", Some("1.0")),
            ("a", "a-b-1.0.tar.gz", None),
            ("a", "a-1.0-1.tar.gz", Some("1.0.post1")),
            ("a", "a-1.0.tar.bz2", None),
        ] {
            assert_eq!(source_archive(project, file).map(|it| it.to_string()).as_deref(), expected, "{file}");
        }
    }
}
