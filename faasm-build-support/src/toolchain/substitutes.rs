//! What stands for things that WASI lacks, for the link of packages: threads, and flags of floating-point operations. No part of
//! the toolchain, since a change of it would then build CPython and all packages again.

use std::path::PathBuf;
use std::process::Command;

use super::Toolchain;
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const RECIPE: &str = "1";

const SOURCES: [(&str, &str); 2] = [("fenv", include_str!("fenv.c")), ("threads", include_str!("threads.c"))];

/// An archive with functions that go before those of C's library.
pub(crate) struct Substitutes {
    pub(crate) archive: PathBuf,
    pub(crate) key: Key,
}

/// Compiles the archive.
pub(crate) fn substitutes(cx: &Context, toolchain: &Toolchain) -> Result<Substitutes> {
    let mut key = Key::new().value("recipe", RECIPE).value("toolchain", toolchain.identity());
    for (name, text) in SOURCES {
        key = key.content(name, text);
    }
    let directory = cx.entry("toolchain", "wasi-substitutes", &key, |directory| {
        const STEP: &str = "toolchain wasi-substitutes";
        let log = command::new_log(cx, STEP)?;
        let mut archive = Command::new(toolchain.ar());
        archive.arg("rcsD").arg(directory.join(ARCHIVE));
        for (name, text) in SOURCES {
            let (source, object) =
                (directory.join(name).with_extension("c"), directory.join(name).with_extension("o"));
            std::fs::write(&source, text).map_err(Error::io("write", &source))?;
            let mut compile = Command::new(toolchain.cc());
            command::run(STEP, &log, compile.args(["-O2", "-w", "-c", "-o"]).arg(&object).arg(&source))?;
            archive.arg(object);
        }
        command::run(STEP, &log, &mut archive)
    })?;
    Ok(Substitutes { archive: directory.join(ARCHIVE), key })
}

const ARCHIVE: &str = "libsubstitutes.a";
