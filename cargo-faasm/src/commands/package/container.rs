//! Container images, in place of bundles.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use faasm_bundle::oci::{self, Container};
use faasm_bundle::{Bundle, Contents, Limits, MachineCode, Target, install, write};
use serde_json::json;

use crate::cli::{Format, Package};
use crate::error::input;
use crate::shell::{self, Shell};
use crate::units::{show_duration, show_size};

/// What is only on the way into an image need not be small.
const COMPRESSION: i32 = 1;

/// Refuses what cannot be done, before anything is built.
pub(super) fn check(arguments: &Package) -> anyhow::Result<()> {
    server(arguments)?;
    if arguments.targets.len() > 1 {
        return Err(input("a container image is for one kind of processor")
            .hint("give one --target, or none: then it runs on all processors of this kind")
            .into());
    }
    Ok(())
}

pub(super) fn run(
    shell: &Shell,
    arguments: &Package,
    contents: &Contents<'_>,
    progress: &dyn Fn(&str),
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let server = server(arguments)?;
    // Without machine code each container would compile it. Code for one processor alone is for those who ask for it.
    let default = [Target::Named(faasm_image::host_target())];
    let targets = if contents.targets.is_empty() { &default[..] } else { contents.targets };
    let work = tempfile::tempdir().context("failed to create a temporary directory")?;
    // Functions are a layer of their own, so that others make no other runtime.
    let functions = contents.functions;
    let contents = Contents { targets, functions: &[], compression: COMPRESSION, ..contents.clone() };
    let bundle = write(&contents, work.path(), progress)?;
    let runtime = tempfile::tempdir().context("failed to create a temporary directory")?;
    let code = MachineCode::Trust;
    let installed =
        install(&mut Bundle::open(&bundle.path)?, runtime.path(), code, &Limits::default(), progress)?;
    if installed.compiled {
        let target = &installed.manifest.target;
        return Err(input(format!(
            "machine code for {target} does not run here, and a container image has this machine's server"
        ))
        .hint("make the image on a machine of that kind")
        .into());
    }
    progress("writing the image");
    let path = arguments.output.join(format!("py_func-{}-{}.oci.tar", contents.version, env::consts::ARCH));
    let (version, runtime) = (contents.version, runtime.path());
    let container = Container { version, server: &server, runtime, functions };
    let digest = oci::write(&container, &path)?;
    let bytes = path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len();
    let (size, time) = (show_size(bytes), show_duration(started.elapsed()));
    shell.status("Packaged", format_args!("{} ({size}) in {time}", path.display()));
    let path = path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?;
    match arguments.message.format {
        Format::Json => shell::json(
            &json!({ "reason": "container-written", "path": path, "digest": digest, "bytes": bytes, "version": version, "functions": functions.len() }),
        )?,
        Format::Human => shell::data(format!("{}\n", path.display()).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The program `py_func`.
fn server(arguments: &Package) -> anyhow::Result<PathBuf> {
    let beside = || Some(env::current_exe().ok()?.with_file_name("py_func"));
    let on_path =
        || env::split_paths(&env::var_os("PATH")?).map(|it| it.join("py_func")).find(|it| it.is_file());
    let found = match &arguments.server {
        Some(named) => Some(named.clone()),
        None => beside().filter(|it| it.is_file()).or_else(on_path),
    };
    found.filter(|it| it.is_file()).ok_or_else(|| {
        input("the program `py_func` was not found, which a container image runs")
            .hint("build it with `cargo build --release --package py_func --features server`, and name it with --server")
            .into()
    })
}
