//! What stands for things that WASI lacks, for packages: threads, flags of floating-point operations, and, with a WASI SDK,
//! `longjmp`. No part of the toolchain, since a change of it would then build CPython again.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Toolchain;
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const RECIPE: &str = "2";

const SOURCES: [(&str, &str); 3] = [
    ("fenv", include_str!("substitutes/fenv.c")),
    ("jump", include_str!("substitutes/jump.c")),
    ("threads", include_str!("substitutes/threads.c")),
];
const HEADERS: [(&str, &str); 2] = [
    ("fenv.h", include_str!("substitutes/include/fenv.h")),
    ("setjmp.h", include_str!("substitutes/include/setjmp.h")),
];

/// Headers and functions that go before those of C's library.
#[derive(Clone, Debug)]
pub(crate) struct Substitutes {
    pub(crate) archive: PathBuf,
    pub(crate) include: PathBuf,
    pub(crate) key: Key,
}

/// Compiles the archive.
pub(crate) fn substitutes(cx: &Context, toolchain: &Toolchain) -> Result<Substitutes> {
    let mut key = Key::new().value("recipe", RECIPE).value("toolchain", toolchain.identity());
    for (name, text) in SOURCES.iter().chain(&HEADERS) {
        key = key.content(name, text);
    }
    let directory = cx.entry("toolchain", "wasi-substitutes", &key, |directory| {
        const STEP: &str = "toolchain wasi-substitutes";
        let log = command::new_log(cx, STEP)?;
        let include = directory.join(INCLUDE);
        fs::create_dir(&include).map_err(Error::io("create the directory", &include))?;
        for (name, text) in HEADERS {
            fs::write(include.join(name), text).map_err(Error::io("write", include.join(name)))?;
        }
        let mut archive = Command::new(toolchain.ar());
        archive.arg("rcsD").arg(directory.join(ARCHIVE));
        for (name, text) in SOURCES {
            let (source, object) =
                (directory.join(name).with_extension("c"), directory.join(name).with_extension("o"));
            fs::write(&source, text).map_err(Error::io("write", &source))?;
            let mut compile = Command::new(toolchain.cc());
            command::run(
                STEP,
                &log,
                compile
                    .args(["-O2", "-w", "-isystem"])
                    .arg(&include)
                    .args(["-c", "-o"])
                    .arg(&object)
                    .arg(&source),
            )?;
            archive.arg(object);
        }
        command::run(STEP, &log, &mut archive)
    })?;
    Ok(Substitutes { archive: directory.join(ARCHIVE), include: directory.join(INCLUDE), key })
}

const INCLUDE: &str = "include";
const ARCHIVE: &str = "libsubstitutes.a";
