//! `cargo faasm state`

use std::process::ExitCode;

use py_func::Registry;
use py_func::server::Keys;
use py_func::state::{Error, State};
use reqwest::Method;
use serde_json::json;

use crate::call;
use crate::cli::{self, Format, StateAction};
use crate::remote::Remote;
use crate::shell::{self, Shell};
use crate::units::show_size;

pub(super) fn run(shell: &Shell, arguments: &cli::State) -> anyhow::Result<ExitCode> {
    let place = match Remote::named(&arguments.remote)? {
        Some(server) => Place::Server(server),
        None => Place::Store(call::state(&Registry::from_env()?)),
    };
    let format = arguments.message.format;
    match &arguments.action {
        StateAction::List { user } => {
            let keys = place.keys(user)?;
            if keys.is_empty() && format == Format::Human {
                shell.status("Found", format_args!("no state of {user}"));
            }
            for key in keys {
                match format {
                    Format::Human => shell::data(format!("{key}\n").as_bytes())?,
                    Format::Json => shell::json(&json!({ "reason": "state-key", "user": user, "key": key }))?,
                }
            }
        }
        StateAction::Get { user, key } => {
            let value = place.get(user, key)?;
            match format {
                Format::Human => shell::data(&value)?,
                Format::Json => {
                    let value = call::bytes(&value);
                    shell::json(
                        &json!({ "reason": "state-value", "user": user, "key": key, "value": value }),
                    )?;
                }
            }
        }
        StateAction::Put { user, key, input } => {
            let value = call::read_input(input)?;
            let size = value.len();
            place.put(user, key, value)?;
            shell.status("Stored", format_args!("{} as {key} of {user}", show_size(size as u64)));
        }
        StateAction::Delete { user, key } => {
            place.delete(user, key)?;
            shell.status("Deleted", format_args!("{key} of {user}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where state is.
enum Place {
    Server(Remote),
    Store(State),
}

impl Place {
    fn keys(&self, user: &str) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Server(server) => {
                let keys: Keys = server.json(server.request(Method::GET, &["s", user])?)?;
                Ok(keys.keys)
            }
            Self::Store(state) => Ok(pollster::block_on(state.keys(user))?),
        }
    }

    fn get(&self, user: &str, key: &str) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Server(server) => {
                Ok(server.send(server.request(Method::GET, &["s", user, key])?)?.bytes()?.into())
            }
            Self::Store(state) => Ok(pollster::block_on(read(state, user, key))?),
        }
    }

    fn put(&self, user: &str, key: &str, value: Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Server(server) => {
                server.send(server.request(Method::PUT, &["s", user, key])?.body(value))?;
            }
            Self::Store(state) => pollster::block_on(state.replace(user, key, &value))?,
        }
        Ok(())
    }

    fn delete(&self, user: &str, key: &str) -> anyhow::Result<()> {
        match self {
            Self::Server(server) => {
                server.send(server.request(Method::DELETE, &["s", user, key])?)?;
            }
            Self::Store(state) => pollster::block_on(state.delete(user, key))?,
        }
        Ok(())
    }
}

async fn read(state: &State, user: &str, key: &str) -> Result<Vec<u8>, Error> {
    let size = state.size(user, key).await?;
    let size = size.ok_or_else(|| Error::NoValue { user: user.to_owned(), key: key.to_owned() })?;
    let mut value = vec![0; size as usize];
    let length = state.read(user, key, 0, &mut value).await?;
    value.truncate(length);
    Ok(value)
}
