//! `cargo faasm run`

use std::path::Path;
use std::process::ExitCode;

use crate::call;
use crate::cli::{Global, Run};
use crate::error;
use crate::image;
use crate::shell::Shell;

/// Whose functions those are that are run from a file.
const USER: &str = "python";

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Run) -> anyhow::Result<ExitCode> {
    // What is wrong with files is said before an image is built for minutes.
    let source = call::read_function(&arguments.source)?;
    let input = call::read_input(&arguments.input)?;
    let image = image::select(*shell, global, &arguments.image, None)?;
    let runtime = call::runtime(&image.directory, arguments.limits, None)?;
    let builder = runtime
        .function(USER, &function_name(&arguments.source))
        .source(source)
        .file(arguments.source.display().to_string())
        .entry(&arguments.entry);
    let result = match builder.load() {
        Ok(function) => function.call(input).wait(),
        Err(error) => Err(error::into_failed_call(error.into())?),
    };
    call::finish(shell, arguments.message.format, result)
}

/// The name of the function in a file: the file's own, as far as it can be one.
fn function_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let name: String = stem.chars().take(64).map(|c| if valid(c) { c } else { '_' }).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "function".to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_valid_name() {
        let long = format!("{}.py", "x".repeat(100));
        for (path, expected) in [
            ("a/hello.py", "hello"),
            ("my file ä.py", "my_file__"),
            (".hidden", "_hidden"),
            ("-", "-"),
            ("..", "function"),
            (&long, &long[..64]),
        ] {
            assert_eq!(function_name(Path::new(path)), expected);
        }
    }
}
