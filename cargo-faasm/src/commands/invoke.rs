//! `cargo faasm invoke`

use std::process::ExitCode;

use py_func::Registry;

use crate::call;
use crate::cli::{Global, Invoke};
use crate::error;
use crate::image;
use crate::shell::Shell;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Invoke) -> anyhow::Result<ExitCode> {
    let Invoke { user, function, .. } = arguments;
    let store = Registry::from_env()?;
    // That there is no such function is said before an image is built for minutes.
    store.source(user, function)?;
    let input = call::read_input(&arguments.input)?;
    let image = image::select(*shell, global, &arguments.image, Some(&store))?;
    let runtime = call::runtime(&image.directory, arguments.limits, Some(&store))?;
    let result = match store.load(&runtime, user, function) {
        Ok(function) => function.call(input).wait(),
        Err(error) => Err(error::into_failed_call(error.into())?),
    };
    call::finish(shell, arguments.message.format, result)
}
