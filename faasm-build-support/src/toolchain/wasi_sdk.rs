//! The WASI SDK that the user has installed, for those who want the toolchain that PEP 816 names.

use std::path::Path;

use super::{Toolchain, WASI_TARGET, write_wrapper};
use crate::cache::Key;
use crate::error::{Error, Result};
use crate::progress::Context;

pub(super) const VARIABLE: &str = "WASI_SDK_PATH";

const RECIPE: &str = "2";

const PROGRAMS: [(&str, &str); 5] =
    [("cc", "clang"), ("c++", "clang++"), ("ar", "llvm-ar"), ("ranlib", "llvm-ranlib"), ("ld", "wasm-ld")];

pub(super) fn toolchain(cx: &Context, sdk: &Path) -> Result<Toolchain> {
    let sysroot = sdk.join("share/wasi-sysroot");
    for needed in PROGRAMS.iter().map(|(_, program)| sdk.join("bin").join(program)).chain([sysroot.clone()]) {
        if !needed.exists() {
            let value = sdk.display().to_string();
            return Err(Error::Variable {
                name: VARIABLE,
                value,
                reason: "it must be the directory of a WASI SDK, with bin/clang and share/wasi-sysroot",
            });
        }
    }
    let mut identity = Key::new().value("recipe", RECIPE).file("clang", &sdk.join("bin/clang"))?;
    let version = sdk.join("VERSION");
    if version.exists() {
        identity = identity.file("version", &version)?;
    }
    // The wrappers name the SDK's place, so that is a part of their key but not of what they make.
    let key = identity.clone().value("path", sdk.to_string_lossy());
    let bin = cx.entry("toolchain", "wasi-sdk", &key, |directory| {
        let sysroot = format!("--sysroot={}", sysroot.display());
        let target = format!("--target={WASI_TARGET}");
        for (name, program) in PROGRAMS {
            let program = sdk.join("bin").join(program).to_string_lossy().into_owned();
            let flags: &[&str] = if name.starts_with('c') { &[&target, &sysroot] } else { &[] };
            write_wrapper(&directory.join(name), &[], &[&[program.as_str()], flags].concat())?;
        }
        Ok(())
    })?;
    Ok(Toolchain { bin, identity: identity.hex(), target: WASI_TARGET.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    #[test]
    fn an_incomplete_sdk_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let cx = Context {
            cache: Cache::new(directory.path().join("cache")),
            offline: true,
            jobs: 1,
            progress: crate::progress::silent(),
        };
        let error = toolchain(&cx, directory.path()).unwrap_err().to_string();
        assert!(error.contains(VARIABLE) && error.contains("bin/clang"), "{error}");
    }
}
