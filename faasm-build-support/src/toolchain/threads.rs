//! What stands for threads where there are none, for the link of packages. No part of the toolchain, since a change of it would
//! then build CPython and all packages again.

use std::path::PathBuf;
use std::process::Command;

use super::Toolchain;
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const RECIPE: &str = "1";

const SOURCE: &str = include_str!("threads.c");

/// An archive with functions for threads.
pub(crate) struct Threads {
    pub(crate) archive: PathBuf,
    pub(crate) key: Key,
}

/// Compiles the archive.
pub(crate) fn threads(cx: &Context, toolchain: &Toolchain) -> Result<Threads> {
    let key =
        Key::new().value("recipe", RECIPE).value("toolchain", toolchain.identity()).content("source", SOURCE);
    let directory = cx.entry("toolchain", "wasi-threads", &key, |directory| {
        const STEP: &str = "toolchain wasi-threads";
        let log = command::new_log(cx, STEP)?;
        let (source, object) = (directory.join("threads.c"), directory.join("threads.o"));
        std::fs::write(&source, SOURCE).map_err(Error::io("write", &source))?;
        let mut compile = Command::new(toolchain.cc());
        command::run(STEP, &log, compile.args(["-O2", "-w", "-c", "-o"]).arg(&object).arg(&source))?;
        let mut archive = Command::new(toolchain.ar());
        command::run(STEP, &log, archive.arg("rcsD").arg(directory.join(ARCHIVE)).arg(&object))
    })?;
    Ok(Threads { archive: directory.join(ARCHIVE), key })
}

const ARCHIVE: &str = "libthreads.a";
