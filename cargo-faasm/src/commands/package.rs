//! `cargo faasm package`

mod container;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use faasm_bundle::oci;
use faasm_bundle::{Contents, Location, SIGNATURE_EXTENSION, Target, Written, publish, sign, write};
use py_func::Registry;
use serde_json::json;

use crate::cli::{Format, Global, Include, Package};
use crate::error::input;
use crate::image;
use crate::layout;
use crate::materials;
use crate::package::{self, Place};
use crate::progress::Transfer;
use crate::shell::{self, Shell};
use crate::units::{show_duration, show_size};

/// The target that stands for this machine's processor.
const NATIVE: &str = "native";

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Package) -> anyhow::Result<ExitCode> {
    // What can be wrong with the command line is said before an image is built.
    let place = arguments.to.as_deref().map(Location::parse).transpose()?;
    if let Some(place) = place.as_ref().filter(|it| global.offline && !it.is_local()) {
        return Err(
            input(format!("{place} is not on this machine, and --offline forbids to publish there")).into()
        );
    }
    let targets = targets(&arguments.targets)?;
    let around = package::locate(global)?;
    let version = match (&arguments.version, &around) {
        (Some(version), _) => version.clone(),
        (None, Place::Package(package)) => package.version().to_owned(),
        (None, _) => env!("CARGO_PKG_VERSION").to_owned(),
    };
    if let Some(image) = &arguments.kubernetes {
        shell::data(oci::kubernetes(&version, image)?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = Registry::from_env()?;
    let functions = match arguments.include.contains(&Include::Functions) {
        true => store.functions_for_bundle()?,
        false => Vec::new(),
    };
    if arguments.oci {
        container::check(arguments)?;
    }
    let image = image::select(*shell, global, &arguments.image, None)?;

    let started = Instant::now();
    let documents = materials::documents(*shell, global, &image.directory, &around, &version)?;
    let contents = Contents {
        version: &version,
        image: &image.directory,
        targets: &targets,
        functions: &functions,
        documents: &documents,
        compression: arguments.compression,
    };
    let progress = |text: &str| shell.status("Packaging", text);
    if arguments.oci {
        return container::run(shell, arguments, &contents, &progress);
    }
    let written = write(&contents, &arguments.output, &progress)?;
    let signature = arguments.sign.as_deref().map(|key| {
        let signature = sign::sign(&written.path, key, env::var("FAASM_SIGN_PASSWORD").ok())?;
        let mut path = written.path.clone().into_os_string();
        path.push(SIGNATURE_EXTENSION);
        layout::write(path.as_ref(), signature.as_bytes())?;
        anyhow::Ok(signature)
    });
    let signature = signature.transpose()?;
    let (size, time) = (show_size(written.len), show_duration(started.elapsed()));
    shell.status("Packaged", format_args!("{} ({size}) in {time}", written.path.display()));
    let json = arguments.message.format == Format::Json;
    if json {
        shell::json(&describe(&written, signature.is_some()))?;
    }
    let location = match place {
        Some(place) => upload(*shell, &written, signature.as_deref(), &place, arguments, json)?,
        None => {
            let path = fs::canonicalize(&written.path);
            let path = path.with_context(|| format!("failed to find {}", written.path.display()))?;
            path.display().to_string()
        }
    };
    if !json {
        shell::data(format!("{location}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn targets(names: &[String]) -> anyhow::Result<Vec<Target>> {
    let target = |name: &String| {
        if name == NATIVE {
            return Ok(Target::Native);
        }
        super::codegen::check_target(name)?;
        Ok(Target::Named(name.clone()))
    };
    names.iter().map(target).collect()
}

fn upload(
    shell: Shell,
    bundle: &Written,
    signature: Option<&str>,
    place: &Location,
    arguments: &Package,
    json: bool,
) -> anyhow::Result<String> {
    if matches!(place, Location::Url(url) if matches!(url.scheme(), "http" | "https")) {
        return Err(input(format!("{place} is a web server, and nothing is published there"))
            .hint("name a directory or an object store: s3://, gs:// or az://")
            .into());
    }
    let started = Instant::now();
    let transfer = Transfer::new(shell, "Publishing", place.to_string());
    let on_bytes = |done: u64, total: u64| transfer.show(done, total);
    let done = publish(bundle, signature, place, arguments.overwrite, &on_bytes)?;
    drop(transfer);
    let (location, time) = (done.location.to_string(), show_duration(started.elapsed()));
    let how = if done.was_there { "it was there, the same" } else { "verified" };
    shell.status("Published", format_args!("{location} in {time}: {how}"));
    if json {
        shell::json(&json!({ "reason": "bundle-published", "url": location, "was_there": done.was_there }))?;
    }
    Ok(location)
}

fn describe(written: &Written, signed: bool) -> serde_json::Value {
    let Written { path, manifest, sha256, len } = written;
    let code: Vec<_> = manifest.code.iter().map(|it| &it.path).collect();
    json!({
        "reason": "bundle-written", "path": path, "sha256": sha256, "bytes": len, "version": manifest.version,
        "target": manifest.target, "identity": manifest.identity, "python": manifest.image.python,
        "files": manifest.files.len(), "unpacked_bytes": manifest.files.iter().map(|it| it.len).sum::<u64>(),
        "machine_code": code, "functions": manifest.functions.len(), "signed": signed,
    })
}
