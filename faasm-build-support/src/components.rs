//! What an image is made of that others have written, with licences: for bills of materials.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cpython;
use crate::error::{Error, Result};
use crate::image::PACKAGE;
use crate::packages::Recipes;
use crate::progress::Context;
use crate::source::crates;
use crate::toolchain::zig;

/// Something that is linked into guests, or lies in their library.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as an SPDX expression, where that is known.
    pub license: Option<String>,
    /// Files with the text of its licence.
    pub texts: Vec<PathBuf>,
}

/// A C library that comes in a crate.
struct Carried {
    package: &'static str,
    name: &'static str,
    license: &'static str,
    /// The file that says the version, and what stands before each of its parts.
    version: (&'static str, &'static [&'static str]),
    texts: &'static [&'static str],
}

const CARRIED: [Carried; 5] = [
    Carried {
        package: "libz-sys",
        name: "zlib",
        license: "Zlib",
        version: ("src/zlib/zlib.h", &["#define ZLIB_VERSION \""]),
        texts: &["src/zlib/LICENSE"],
    },
    Carried {
        package: "bzip2-sys",
        name: "bzip2",
        license: "bzip2-1.0.6",
        version: ("bzip2-1.0.8/LICENSE", &["bzip2/libbzip2 version "]),
        texts: &["bzip2-1.0.8/LICENSE"],
    },
    Carried {
        package: "liblzma-sys",
        name: "liblzma",
        license: "0BSD",
        version: (
            "xz/src/liblzma/api/lzma/version.h",
            &["#define LZMA_VERSION_MAJOR ", "#define LZMA_VERSION_MINOR ", "#define LZMA_VERSION_PATCH "],
        ),
        texts: &["xz/COPYING", "xz/COPYING.0BSD"],
    },
    Carried {
        package: "libsqlite3-sys",
        name: "sqlite",
        license: "blessing",
        version: ("sqlite3/sqlite3.h", &["#define SQLITE_VERSION        \""]),
        texts: &[],
    },
    Carried {
        package: "libffi-sys",
        name: "dlmalloc",
        license: "CC0-1.0",
        version: ("libffi/src/dlmalloc.c", &["* Version "]),
        texts: &[],
    },
];

/// What every guest has linked into it, and what the packages among the `inputs` of an image's manifest bring that are no Python packages.
///
/// # Errors
///
/// When a source is not in the cache and cannot be had.
pub fn linked(cx: &Context, inputs: &BTreeMap<String, String>) -> Result<Vec<Component>> {
    let source = cpython::source(cx)?.0;
    let mut components = vec![
        component(
            "cpython",
            cpython::VERSION,
            "Python-2.0.1",
            vec![source.join("LICENSE"), source.join("Doc/license.rst")],
        ),
        component(
            "expat",
            &version(
                &source.join("Modules/expat/expat.h"),
                &["#define XML_MAJOR_VERSION ", "#define XML_MINOR_VERSION ", "#define XML_MICRO_VERSION "],
            )?,
            "MIT",
            vec![source.join("Modules/expat/COPYING")],
        ),
        component(
            "libmpdec",
            &version(&source.join("Modules/_decimal/libmpdec/mpdecimal.h"), &["#define MPD_VERSION \""])?,
            "BSD-2-Clause",
            Vec::new(),
        ),
    ];
    let crates = crates::fetch(cx)?;
    for carried in &CARRIED {
        let directory = crates.directory(carried.package)?;
        let (file, before) = carried.version;
        let texts = carried.texts.iter().map(|it| directory.join(it)).collect();
        components.push(component(
            carried.name,
            &version(&directory.join(file), before)?,
            carried.license,
            texts,
        ));
    }

    let zig = zig::zig(cx)?;
    let (library, zig_version) = (zig.library(), zig.version());
    let below = |names: &[&str]| names.iter().map(|it| library.join(it)).collect::<Vec<_>>();
    components.push(component(
        "wasi-libc",
        zig_version,
        "(Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT) AND BSD-2-Clause AND MIT",
        below(&[
            "libc/wasi/LICENSE",
            "libc/wasi/LICENSE-APACHE-LLVM",
            "libc/wasi/LICENSE-MIT",
            "libc/wasi/libc-bottom-half/cloudlibc/LICENSE",
            "libc/wasi/libc-top-half/musl/COPYRIGHT",
        ]),
    ));
    // Its replacement of compiler-rt, and parts of libc that it has written itself.
    components.push(component("zig-compiler-rt", zig_version, "MIT", below(&["../LICENSE"])));

    let packages = inputs.iter().filter_map(|(name, version)| Some((name.strip_prefix(PACKAGE)?, version)));
    let packages: Vec<_> = packages.collect();
    if !packages.is_empty() {
        let texts = below(&["libcxx/LICENSE.TXT", "libcxxabi/LICENSE.TXT"]);
        components.push(component("libc++", zig_version, "Apache-2.0 WITH LLVM-exception", texts));
    }
    let recipes = Recipes::load(cx, &[])?;
    for (name, version) in packages {
        let found = recipes.get(name).iter().find(|it| it.recipe.package.version == *version);
        // Python packages say it themselves, in the image.
        if let Some(found) = found.filter(|it| it.recipe.build.package_type.is_library()) {
            let license = found.recipe.about.license.clone();
            let (name, version) = (name.to_owned(), version.clone());
            components.push(Component { name, version, license, texts: Vec::new() });
        }
    }
    Ok(components)
}

fn component(name: &str, version: &str, license: &str, texts: Vec<PathBuf>) -> Component {
    let [name, version, license] = [name, version, license].map(str::to_owned);
    Component { name, version, license: Some(license), texts }
}

/// The version that a file says: what follows each of these, up to a quotation mark or a space, with dots between.
fn version(path: &Path, before: &[&str]) -> Result<String> {
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8_lossy(&text);
    let part = |before: &&str| {
        let rest = text.split_once(before).map(|it| it.1.trim_start());
        rest.and_then(|it| it.split(['"', ' ', '\n']).next()).filter(|it| !it.is_empty())
    };
    let parts: Option<Vec<&str>> = before.iter().map(part).collect();
    parts.map(|it| it.join(".")).ok_or_else(|| Error::Lookup {
        what: format!("the version in {}", path.display()),
        reason: "it is not where it was in other versions".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.h");
        fs::write(&path, "#define A \"1.2\"\n#define B 3\n#define C  4\n * Version 5.6 Wed\n").unwrap();
        for (before, found) in [(&["A \""][..], "1.2"), (&["B ", "C "], "3.4"), (&["* Version "], "5.6")] {
            assert_eq!(version(&path, before).unwrap(), found);
        }
        assert!(version(&path, &["D "]).is_err());
    }
}
