//! What the name of a wheel says: its version, and whether this machine can run it.
//!
//! See <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.

use std::str::FromStr as _;

use pep440_rs::Version;

/// The newest C library that the native Python runs with for certain, as in `toolchain::native`.
const GLIBC: (u32, u32) = (2, 28);

/// The version of a wheel that the native Python can use, and its rank: of two wheels of a version the one with the higher rank is better.
pub(super) fn native(file: &str) -> Option<(Version, u32)> {
    let stem = file.strip_suffix(".whl")?;
    let mut parts = stem.split('-').rev();
    let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
    // Between version and tags there may be a build number, which begins with a digit as well.
    let rest: Vec<&str> = parts.collect();
    let version = match rest.as_slice() {
        [version, _] | [_, version, _] => Version::from_str(version).ok()?,
        _ => return None,
    };
    let python = pythons.split('.').filter_map(|tag| python_rank(tag, abis)).max()?;
    let platform = platforms.split('.').filter_map(platform_rank).max()?;
    Some((version, python + platform))
}

fn python_rank(python: &str, abis: &str) -> Option<u32> {
    let abi = |name: &str| abis.split('.').any(|abi| abi == name);
    if python == "cp313" && abi("cp313") {
        return Some(40);
    }
    if let Some(minor) = python.strip_prefix("cp3") {
        let minor: u32 = minor.parse().ok()?;
        return (minor <= 13 && abi("abi3")).then_some(20 + minor);
    }
    (["py3", "py313"].contains(&python) && abi("none")).then_some(10)
}

fn platform_rank(platform: &str) -> Option<u32> {
    if platform == "any" {
        return Some(0);
    }
    if cfg!(target_os = "macos") {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let rest = platform.strip_prefix("macosx_")?;
        return [architecture, "universal2"].iter().any(|it| rest.ends_with(it)).then_some(1);
    }
    let rest = platform.strip_suffix(std::env::consts::ARCH)?.strip_suffix('_')?;
    let number = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('_')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    if cfg!(target_env = "musl") {
        return number(rest.strip_prefix("musllinux_")?).map(|_| 1);
    }
    // The older names, which PEP 600 says to be the same as newer ones.
    match rest {
        "manylinux1" | "manylinux2010" | "manylinux2014" => return Some(1),
        _ => {}
    }
    number(rest.strip_prefix("manylinux_")?).filter(|version| *version <= GLIBC).map(|_| 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    fn wheels_for_this_machine() {
        for (file, expected) in [
            ("a-1.0-py3-none-any.whl", Some("1.0")),
            ("a-1.0-py2.py3-none-any.whl", Some("1.0")),
            ("a-1.0-1-py3-none-any.whl", Some("1.0")),
            ("a-1.0-py2-none-any.whl", None),
            ("a-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", Some("1.0")),
            ("a-1.0-cp313-cp313t-manylinux2014_x86_64.whl", None),
            ("a-1.0-cp312-cp312-manylinux2014_x86_64.whl", None),
            ("a-1.0-cp38-abi3-manylinux_2_28_x86_64.whl", Some("1.0")),
            ("a-1.0-cp314-abi3-manylinux_2_28_x86_64.whl", None),
            ("a-1.0-cp313-cp313-manylinux_2_34_x86_64.whl", None),
            ("a-1.0-cp313-cp313-manylinux2014_aarch64.whl", None),
            ("a-1.0-cp313-cp313-musllinux_1_2_x86_64.whl", None),
            ("a-1.0-cp313-cp313-win_amd64.whl", None),
            ("a-1.0.tar.gz", None),
            ("a.whl", None),
        ] {
            assert_eq!(native(file).map(|(version, _)| version.to_string()).as_deref(), expected, "{file}");
        }
        let rank = |tags: &str| native(&format!("a-1-{tags}.whl")).unwrap().1;
        assert!(rank("cp313-cp313-manylinux2014_x86_64") > rank("cp39-abi3-manylinux2014_x86_64"));
        assert!(rank("cp39-abi3-manylinux2014_x86_64") > rank("py3-none-manylinux2014_x86_64"));
        assert!(rank("py3-none-manylinux2014_x86_64") > rank("py3-none-any"));
    }
}
