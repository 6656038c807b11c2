//! `cargo faasm key`

use std::env;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_bundle::sign;

use crate::cli::Key;
use crate::error::input;
use crate::shell::{self, Shell};

pub(super) fn run(shell: &Shell, arguments: &Key) -> anyhow::Result<ExitCode> {
    let private = &arguments.file;
    let mut public = private.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    // Whoever has lost a private key cannot sign any more.
    if let Some(there) = [private, &public].into_iter().find(|it| it.exists()) {
        return Err(input(format!("{} is there already", there.display())).hint("name another file").into());
    }
    let password = match (arguments.no_password, env::var("FAASM_SIGN_PASSWORD")) {
        (true, _) => None,
        (false, Ok(password)) => Some(password),
        (false, Err(env::VarError::NotPresent)) => Some(ask()?),
        (false, Err(error)) => return Err(input(format!("FAASM_SIGN_PASSWORD: {error}")).into()),
    };
    // Nobody means that who sets a variable from a secret that is not there.
    if password.as_deref() == Some("") {
        return Err(input("the password is empty")
            .hint("make a key without a password with --no-password")
            .into());
    }
    let (secret, key) = sign::generate(password)?;
    create(private, secret.as_bytes())?;
    create(&public, key.as_bytes()).inspect_err(|_| {
        // It would be in the way of the next try, without the half that goes with it.
        let _ = fs::remove_file(private);
    })?;
    shell.status("Made", format_args!("{} and {}", private.display(), public.display()));
    // The first line is a comment.
    let key = key.lines().nth(1).unwrap_or_default();
    shell::data(format!("{key}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn ask() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(input("there is no terminal to ask for a password on")
            .hint("set FAASM_SIGN_PASSWORD to it, or make a key without one with --no-password")
            .into());
    }
    let prompt = |text: &str| rpassword::prompt_password(text).context("failed to ask for the password");
    let password = prompt("Password of the new key: ")?;
    if prompt("Once more: ")? != password {
        return Err(input("the two passwords differ").into());
    }
    Ok(password)
}

/// Creates a file that only its owner can read, in one step, unless it is there.
fn create(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Temporary files are as private.
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        std::io::Result::Ok(())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}
