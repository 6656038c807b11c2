//! The pinned list: every file that is downloaded, by its hash.

use std::env::consts::{ARCH, OS};

use crate::error::{Error, Result};

/// A file to download.
#[derive(Clone, Copy, Debug)]
pub struct Pin<'a> {
    /// What it is.
    pub name: &'a str,
    /// Which version of it.
    pub version: &'a str,
    /// The file's name.
    pub file: &'a str,
    /// The file's SHA-256, in lowercase hexadecimal.
    pub sha256: &'a str,
    /// Where it can be had, in the order in which they are tried.
    pub mirrors: &'a [Mirror<'a>],
}

/// A place where a file can be had.
#[derive(Clone, Copy, Debug)]
pub enum Mirror<'a> {
    /// The site of those who make it.
    Url(&'a str),
    /// A path below the root of the Debian archive that this machine uses.
    DebianPool(&'a str),
    /// The file of that name among a project's files on the package index that pip uses.
    PythonIndex {
        /// The project's normalised name.
        project: &'a str,
    },
}

/// CPython's source. Debian's pool holds upstream's file, byte for byte, under another name.
pub const CPYTHON: Pin<'static> = Pin {
    name: "cpython",
    version: "3.13.5",
    file: "Python-3.13.5.tar.xz",
    sha256: "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
    mirrors: &[
        Mirror::Url("https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tar.xz"),
        Mirror::DebianPool("pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz"),
    ],
};

impl Pin<'_> {
    /// Whether the file has a name and a hash, and nothing in them leads out of the directory that it goes to. Indexes and lock files
    /// can say anything.
    pub(crate) fn is_sound(&self) -> bool {
        is_sha256(self.sha256) && is_file_name(self.file)
    }
}

/// Whether this is a SHA-256 in lowercase hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this names a file, and no path.
pub(crate) fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\\', '\0'])
}

/// Zig for this platform, as a wheel: `ziglang/zig` with its libraries beside it.
///
/// # Errors
///
/// [`Error::Platform`] where there is no such wheel.
pub fn zig() -> Result<&'static Pin<'static>> {
    for_platform(&ZIG, "the Zig toolchain", &platform())
}

/// libclang for this platform, as a wheel: `clang/native/libclang.so`, or `.dylib`, which on some platforms
/// is below `libclang-<version>.data/platlib`.
///
/// # Errors
///
/// [`Error::Platform`] where there is no such wheel.
pub fn libclang() -> Result<&'static Pin<'static>> {
    for_platform(&LIBCLANG, "libclang", &platform())
}

const fn zig_wheel(file: &'static str, sha256: &'static str) -> Pin<'static> {
    let mirrors = &[Mirror::PythonIndex { project: "ziglang" }];
    Pin { name: "zig", version: "0.17.1", file, sha256, mirrors }
}

const fn libclang_wheel(file: &'static str, sha256: &'static str) -> Pin<'static> {
    let mirrors = &[Mirror::PythonIndex { project: "libclang" }];
    Pin { name: "libclang", version: "18.1.1", file, sha256, mirrors }
}

/// Platforms with their file. Zig's programs are static, so one file serves every Linux.
type Platforms<const N: usize> = [(&'static str, Pin<'static>); N];

const ZIG_LINUX_X86_64: Pin<'static> = zig_wheel(
    "ziglang-0.17.1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl",
    "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
);

const ZIG_LINUX_AARCH64: Pin<'static> = zig_wheel(
    "ziglang-0.17.1-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
    "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
);

static ZIG: Platforms<6> = [
    ("x86_64-linux", ZIG_LINUX_X86_64),
    ("x86_64-linux-musl", ZIG_LINUX_X86_64),
    ("aarch64-linux", ZIG_LINUX_AARCH64),
    ("aarch64-linux-musl", ZIG_LINUX_AARCH64),
    (
        "x86_64-macos",
        zig_wheel(
            "ziglang-0.17.1-py3-none-macosx_13_0_x86_64.whl",
            "4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97",
        ),
    ),
    (
        "aarch64-macos",
        zig_wheel(
            "ziglang-0.17.1-py3-none-macosx_13_0_arm64.whl",
            "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23",
        ),
    ),
];

static LIBCLANG: Platforms<5> = [
    (
        "x86_64-linux",
        libclang_wheel(
            "libclang-18.1.1-py2.py3-none-manylinux2010_x86_64.whl",
            "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
        ),
    ),
    (
        "x86_64-linux-musl",
        libclang_wheel(
            "libclang-18.1.1-py2.py3-none-musllinux_1_2_x86_64.whl",
            "69f8eb8f65c279e765ffd28aaa7e9e364c776c17618af8bff22a8df58677ff4f",
        ),
    ),
    (
        "aarch64-linux",
        libclang_wheel(
            "libclang-18.1.1-py2.py3-none-manylinux2014_aarch64.whl",
            "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592",
        ),
    ),
    (
        "x86_64-macos",
        libclang_wheel(
            "libclang-18.1.1-py2.py3-none-macosx_10_9_x86_64.whl",
            "6f14c3f194704e5d09769108f03185fce7acaf1d1ae4bbb2f30a72c2400cb7c5",
        ),
    ),
    (
        "aarch64-macos",
        libclang_wheel(
            "libclang-18.1.1-1-py2.py3-none-macosx_11_0_arm64.whl",
            "0b2e143f0fac830156feb56f9231ff8338c20aecfe72b4ffe96f19e5a1dbb69a",
        ),
    ),
];

/// The platform this program was compiled for: in a build script, the one that builds.
fn platform() -> String {
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
    format!("{ARCH}-{OS}{libc}")
}

fn for_platform<const N: usize>(
    pins: &'static Platforms<N>,
    what: &'static str,
    platform: &str,
) -> Result<&'static Pin<'static>> {
    let found = pins.iter().find(|(name, _)| *name == platform);
    found.map(|(_, pin)| pin).ok_or_else(|| Error::Platform { what, platform: platform.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_well_formed() {
        let wheels = ZIG.iter().chain(&LIBCLANG).map(|(_, pin)| pin);
        for pin in wheels.chain([&CPYTHON]) {
            assert!(pin.file.contains(pin.version), "{pin:?}");
            assert!(pin.is_sound(), "{pin:?}");
            assert!(!pin.mirrors.is_empty(), "{pin:?}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_name_and_no_hash() {
        for name in ["", ".", "..", "/etc/passwd", "../x", "a/b", "a\\b", "a\0"] {
            assert!(!is_file_name(name), "{name}");
        }
        assert!(is_file_name("a-1.0-py3-none-any.whl") && is_file_name("..a"));
        let digest = CPYTHON.sha256;
        for text in ["", "/tmp/x", &digest[1..], &digest.to_uppercase(), &format!("{}/", &digest[1..])] {
            assert!(!is_sha256(text), "{text}");
        }
    }

    #[test]
    fn an_unknown_platform_is_named() {
        assert_eq!(for_platform(&ZIG, "zig", "aarch64-macos").unwrap().file, ZIG[5].1.file);
        let error = for_platform(&ZIG, "zig", "vax-vms").unwrap_err();
        assert!(error.to_string().contains("vax-vms"), "{error}");
    }
}
