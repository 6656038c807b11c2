//! `cargo faasm build`

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use faasm_image::Manifest;
use serde_json::json;

use crate::cli::{Build, Format, Global};
use crate::error::{Exit, Failure};
use crate::image::{self, Selected};
use crate::layout;
use crate::package::{self, LOCKED, Place};
use crate::progress::Steps;
use crate::shell::{self, Shell};
use crate::units::show_duration;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Build) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let format = arguments.message.format;
    let steps = Steps::new(*shell, format);
    let place = package::locate(global)?;
    if !matches!(place, Place::Package(_)) && !arguments.cargo.is_empty() {
        let message = "arguments for `cargo build` were given outside a package that depends on `py_func`";
        return Err(Failure::new(Exit::Usage, message)
            .hint("`cargo faasm new NAME` makes such a package")
            .into());
    }
    let directory = match place {
        Place::Package(package) => {
            let locked = arguments.locked.then(|| LOCKED.to_owned());
            let cargo: Vec<String> = locked.into_iter().chain(arguments.cargo.iter().cloned()).collect();
            image::build_package(&package, global, &steps, &cargo)?.directory
        }
        Place::Workspace(target_directory) => {
            // Held until the image is laid out, so that the cache keeps it.
            let built: Selected = image::build_default(global, &steps)?;
            let directory = image::workspace_layout(&target_directory);
            layout::lay_out(&built.directory, &directory)?;
            directory
        }
        Place::Nowhere => image::build_default(global, &steps)?.directory,
    };
    drop(steps);

    let manifest = Manifest::read(&directory)?;
    let elapsed = started.elapsed();
    let text = format!("image with Python {} in {}", manifest.python, show_duration(elapsed));
    shell.status("Finished", text);
    match format {
        Format::Human => shell::data(format!("{}\n", directory.display()).as_bytes())?,
        Format::Json => write_json(&directory, &manifest, elapsed.as_secs_f64())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_json(directory: &Path, manifest: &Manifest, seconds: f64) -> anyhow::Result<()> {
    let file =
        |entry: &faasm_image::FileEntry| json!({ "path": directory.join(&entry.file), "bytes": entry.len });
    shell::json(&json!({
        "reason": "image-built",
        "directory": directory,
        "python": manifest.python,
        "target": manifest.code.target,
        "engine": manifest.code.engine,
        "files": {
            "wasm": file(&manifest.wasm),
            "code": file(&manifest.code.file),
            "boot": file(&manifest.boot),
            "base": file(&manifest.base),
        },
        "seconds": seconds,
    }))
}
