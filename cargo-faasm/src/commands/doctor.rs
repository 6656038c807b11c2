//! `cargo faasm doctor`

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use faasm_build_support::source::{self, pin};
use faasm_build_support::{Context, hosttools, progress};
use faasm_image::Manifest;
use py_func::{Registry, Runtime};
use serde_json::json;

use crate::cli::{Doctor, Format, Global};
use crate::error::Exit;
use crate::package;
use crate::shell::{self, Shell, VERDICTS};
use crate::units::show_size;

/// A first build needs about this much space, in bytes.
const SPACE: u64 = 2 << 30;

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Good,
    Doubtful,
    Broken,
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    text: String,
}

fn good(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Good, text: text.into() }
}

fn doubtful(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Doubtful, text: text.into() }
}

fn broken(name: &'static str, text: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Broken, text: text.into() }
}

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Doctor) -> anyhow::Result<ExitCode> {
    let mut cx = Context::from_env()?;
    // Looking must not change anything, so no check uses the network, whether or not it is there.
    let offline = cx.offline || global.offline;
    cx.offline = true;
    cx.progress = progress::silent();

    let mut checks =
        vec![platform(), tool("cargo", package::cargo().as_ref()), tool("rustc", rustc().as_ref())];
    checks.push(make(&cx, offline));
    checks.extend(toolchain(&cx, offline));
    checks.push(download(&cx, "source", &pin::CPYTHON, offline));
    checks.push(directory("cache", cx.cache.root(), SPACE));
    checks.push(match Registry::from_env() {
        Ok(store) => directory("store", store.root(), 0),
        Err(error) => broken("store", format!("failed to {error}")),
    });
    checks.push(image(&cx, arguments.image.directory.as_deref()));

    for Check { name, verdict, text } in &checks {
        let word = match verdict {
            Verdict::Good => "ok",
            Verdict::Doubtful => "warning",
            Verdict::Broken => "broken",
        };
        match arguments.message.format {
            Format::Json => {
                shell::json(&json!({ "reason": "check", "name": name, "verdict": word, "text": text }))?;
            }
            Format::Human => shell.verdict(VERDICTS[*verdict as usize], word, format_args!("{name}: {text}")),
        }
    }
    let is_broken = checks.iter().any(|check| check.verdict == Verdict::Broken);
    Ok(if is_broken { ExitCode::from(Exit::Environment as u8) } else { ExitCode::SUCCESS })
}

fn platform() -> Check {
    let target = faasm_image::host_target();
    match (env::consts::OS, env::consts::ARCH) {
        ("linux" | "macos", "x86_64" | "aarch64") => good("platform", target),
        _ => broken("platform", format!("{target}: there is no toolchain for it")),
    }
}

fn rustc() -> PathBuf {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into()
}

fn tool(name: &'static str, program: &Path) -> Check {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => good(name, String::from_utf8_lossy(&output.stdout).trim()),
        Ok(output) => doubtful(name, format!("{} --version failed ({})", program.display(), output.status)),
        // Only packages need it; the default image is built without.
        Err(error) => doubtful(name, format!("packages cannot be built: {}: {error}", program.display())),
    }
}

fn make(cx: &Context, offline: bool) -> Check {
    match hosttools::make(cx) {
        Ok(path) => good("make", path.display().to_string()),
        Err(_) if !offline && Path::new("/etc/debian_version").exists() => {
            good("make", "is not installed, and comes from the distribution's archive with the first build")
        }
        Err(error) => broken("make", format!("failed to {error}")),
    }
}

fn toolchain(cx: &Context, offline: bool) -> Vec<Check> {
    const NAME: &str = "toolchain";
    let mut checks = Vec::new();
    if let Some(path) = env::var_os("WASI_SDK_PATH").filter(|it| !it.is_empty()).map(PathBuf::from) {
        checks.push(match path.join("bin/clang").is_file() {
            true => good(NAME, format!("the WASI SDK in {}", path.display())),
            false => {
                broken(NAME, format!("WASI_SDK_PATH is {}, where there is no bin/clang", path.display()))
            }
        });
    }
    // The native Python is built with it in any case.
    checks.push(match pin::zig() {
        Ok(pin) => download(cx, NAME, pin, offline),
        Err(error) => broken(NAME, format!("failed to {error}")),
    });
    checks
}

fn download(cx: &Context, name: &'static str, pin: &pin::Pin, offline: bool) -> Check {
    let what = format!("{} {}", pin.name, pin.version);
    match source::fetch(cx, pin) {
        Ok(_) => good(name, format!("{what}, in the cache")),
        Err(_) if !offline => good(name, format!("{what}, which the first build downloads")),
        Err(error) => doubtful(name, format!("failed to {error}")),
    }
}

/// Whether a directory, or the one that it will be made in, can be written and has `space` bytes left.
fn directory(name: &'static str, path: &Path, space: u64) -> Check {
    let existing = path.ancestors().find(|it| it.is_dir()).unwrap_or(path);
    if let Err(error) = tempfile::tempfile_in(existing) {
        return broken(name, format!("{} cannot be written: {error}", existing.display()));
    }
    let shown = path.display();
    match rustix::fs::statvfs(existing) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let text = format!("{shown}, {} free", show_size(free));
            match free < space {
                true => {
                    doubtful(name, format!("{text}, where a first build needs about {}", show_size(space)))
                }
                false => good(name, text),
            }
        }
        Err(_) => good(name, shown.to_string()),
    }
}

/// Checks the image that was named, or the store's runtime, or the default one that was used last. Nothing is built for it.
fn image(cx: &Context, named: Option<&Path>) -> Check {
    const NAME: &str = "image";
    let uploaded = || Registry::from_env().ok()?.runtime().ok()?.map(|it| it.image);
    let cached = || {
        let entries = cx
            .cache
            .usage()
            .ok()?
            .into_iter()
            .filter(|it| it.kind == "image" && it.path.join("manifest.json").is_file());
        entries.max_by_key(|it| it.last_used).map(|it| it.path)
    };
    let Some(directory) = named.map(Path::to_path_buf).or_else(uploaded).or_else(cached) else {
        return good(NAME, "none yet; `cargo faasm build` makes one");
    };
    let opened = Runtime::builder().image(&directory).build().map(drop);
    match (opened, Manifest::read(&directory)) {
        (Ok(()), Ok(manifest)) => {
            good(NAME, format!("Python {} in {}", manifest.python, directory.display()))
        }
        (Err(error), _) => {
            let mut text = format!("failed to {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text += &format!(": {error}");
                cause = error.source();
            }
            broken(NAME, text)
        }
        (_, Err(error)) => broken(NAME, format!("failed to {error}")),
    }
}
