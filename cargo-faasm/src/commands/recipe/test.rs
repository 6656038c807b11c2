//! `cargo faasm recipe test`

use std::path::Path;
use std::process::ExitCode;

use faasm_build_support::Image;
use serde_json::json;

use crate::call;
use crate::cli::{Format, Global, Limits};
use crate::error::{self, Exit, Failure, input};
use crate::image;
use crate::progress::Steps;
use crate::shell::{self, Shell};

/// What limits calls does not limit the interpreter as a command.
const NO_LIMITS: Limits = Limits { timeout: None, memory: None, output: None };

/// Imports each module in an image that has the package, one after the other, so that one that fails does not hide others.
pub(super) fn run(
    shell: &Shell,
    global: &Global,
    format: Format,
    directory: &Path,
) -> anyhow::Result<ExitCode> {
    let recipe = faasm_recipe::Recipe::read(directory)?;
    if recipe.build.package_type.is_library() {
        return Err(input(format!("`{}` is a C library, which has nothing to import", recipe.package.name))
            .hint("test a package that is built with it")
            .into());
    }
    let modules =
        if recipe.test.imports.is_empty() { &recipe.package.top_level } else { &recipe.test.imports };
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let mut folders = vec![directory.to_path_buf()];
    folders.extend(super::folders(global, directory)?);
    let built = Image::new(image::own_guest())
        .packages([format!("{}=={}", recipe.package.name, recipe.package.version)])
        .recipe_folders(folders)
        .build_in(&cx)?;
    drop(steps);

    let runtime = call::runtime(built.directory(), NO_LIMITS, None)?;
    let mut failed = 0;
    for module in modules {
        let command = ["-c".to_owned(), format!("import {module}")];
        let status = runtime.interpreter().arguments(command).run()?.map_err(|error| {
            Failure::new(error::call_exit(&error), format!("the interpreter did not end by itself: {error}"))
        })?;
        failed += usize::from(status != 0);
        match format {
            Format::Human => shell.status(if status == 0 { "Imported" } else { "Failed" }, module),
            Format::Json => {
                shell::json(&json!({ "reason": "import-tested", "module": module, "ok": status == 0 }))?;
            }
        }
    }
    if failed > 0 {
        shell.error(format_args!("{failed} of {} cannot be imported", super::count(modules.len(), "module")));
        return Ok(ExitCode::from(Exit::Function as u8));
    }
    Ok(ExitCode::SUCCESS)
}
