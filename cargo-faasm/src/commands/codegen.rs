//! `cargo faasm codegen`

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use faasm_image::Manifest;
use serde_json::json;

use crate::cli::{Codegen, Format, Global};
use crate::error::input;
use crate::image;
use crate::layout;
use crate::shell::{self, Shell};
use crate::units::{show_duration, show_size};

/// Targets that are proposed, if the compiler that is built in knows them.
const COMMON_TARGETS: [&str; 9] = [
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-gnu+v3",
    "x86_64-unknown-linux-musl",
];

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Codegen) -> anyhow::Result<ExitCode> {
    let target = arguments.target.as_str();
    // Asked first, because an image may have to be built before there is something to compile.
    check_target(target)?;
    let image = image::select(*shell, global, &arguments.image, None)?;
    let wasm = image.directory.join(Manifest::read(&image.directory)?.wasm.file);
    let wasm = fs::read(&wasm).with_context(|| format!("failed to read {}", wasm.display()))?;

    let started = Instant::now();
    shell.status("Generating", format_args!("machine code for {target}"));
    let code = faasm_image::compile(&wasm, Some(target))?;
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("py_func-{target}.cwasm")));
    layout::write(&out, &code)?;

    let (size, time) = (show_size(code.len() as u64), show_duration(started.elapsed()));
    shell.status("Finished", format_args!("{} ({size}) in {time}", out.display()));
    if arguments.message.format == Format::Json {
        let engine = faasm_image::ENGINE_VERSION;
        shell::json(
            &json!({ "reason": "code-generated", "path": out, "target": target, "engine": engine, "bytes": code.len() }),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses targets that no machine code can be made for.
pub(super) fn check_target(target: &str) -> anyhow::Result<()> {
    let Err(error) = faasm_image::fingerprint(Some(target)) else { return Ok(()) };
    let known: Vec<&str> =
        COMMON_TARGETS.into_iter().filter(|it| faasm_image::fingerprint(Some(it)).is_ok()).collect();
    let hint = format!("targets are, for example, {}", known.join(", "));
    let failure = input(format!("there is no code generator for the target {target:?}")).hint(hint);
    Err(anyhow::Error::new(error).context(failure))
}
