//! `cargo faasm invoke`

use std::process::ExitCode;

use py_func::{CallFailure, Output, Registry};
use reqwest::Method;

use crate::call;
use crate::cli::{Global, Invoke};
use crate::error::{self, input};
use crate::image;
use crate::remote::Remote;
use crate::shell::Shell;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Invoke) -> anyhow::Result<ExitCode> {
    let Invoke { user, function, .. } = arguments;
    if let Some(server) = Remote::named(&arguments.remote)? {
        let result = invoke_remotely(&server, arguments)?;
        return call::finish(shell, arguments.message.format, result);
    }
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

fn invoke_remotely(server: &Remote, arguments: &Invoke) -> anyhow::Result<Result<Output, CallFailure>> {
    let Invoke { user, function, limits, .. } = arguments;
    for (limit, name) in [(limits.memory, "--memory"), (limits.output, "--output")] {
        if limit.is_some() {
            return Err(
                input(format!("a server has limits of its own, and {name} does not change them")).into()
            );
        }
    }
    let timeout = limits.timeout.map(|timeout| timeout.as_secs_f64().to_string());
    let query: Vec<(&str, &str)> = timeout.iter().map(|timeout| ("timeout", timeout.as_str())).collect();
    let request = server.request_with(Method::POST, &["invoke", user, function], &query)?;
    match server.call(request.body(call::read_input(&arguments.input)?))? {
        Ok(response) => server.result(response),
        Err(failure) => Ok(Err(failure)),
    }
}
