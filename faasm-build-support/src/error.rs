//! The one error type of this crate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a function of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image, or something on the way to one, could not be made.
///
/// Every message is a fragment that continues "failed to …"; [`Error::hint`] says what to do about it. A build script
/// that returns this from `main` has it printed with `{:?}`, which is therefore written for people as well.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused something.
    #[error("{action} {}", path.display())]
    Io {
        /// A verb: "write", "create the directory".
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// A package cannot be built or used.
    #[error("build the package {package}: {reason}")]
    Package {
        /// The package.
        package: String,
        /// What is wrong, and with which of its files.
        reason: String,
    },

    /// A recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] faasm_recipe::Error),

    /// A requirement cannot be understood.
    #[error(transparent)]
    Requirement(#[from] faasm_recipe::BadRequirement),

    /// There are no versions of packages that fit together.
    #[error("choose versions of packages: {explanation}")]
    Resolve {
        /// Why not: steps, one a line.
        explanation: String,
        /// What can be done.
        hint: Option<String>,
    },

    /// The lock file would have to change, and must not.
    #[error("use {} as it is: {reason}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Why it does not do.
        reason: String,
    },

    /// A build command ran and failed.
    #[error("run {step}: `{command}` {status}; all of its output is in {}, which ends with:\n{tail}", log.display())]
    Step {
        /// The step the command is part of.
        step: String,
        /// The command with its arguments.
        command: String,
        /// How it ended: its exit code or signal.
        status: String,
        /// The file with everything it printed.
        log: PathBuf,
        /// The last lines of that file.
        tail: String,
    },

    /// The guest could not be turned into an image.
    #[error("{action}")]
    Image {
        /// What was being done: a verb and its object.
        action: &'static str,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The interpreter reported that it could not be initialised.
    #[error("initialise the interpreter in the sandbox: {text}")]
    Initialise {
        /// What it said: a traceback, or a sentence.
        text: String,
    },

    /// `Cargo.toml` says something that cannot be used.
    #[error("use {}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },

    /// A command could not be started at all.
    #[error("start `{command}` for {step}")]
    Spawn {
        /// The step the command is part of.
        step: String,
        /// The command with its arguments.
        command: String,
        /// What the system answered.
        source: io::Error,
    },

    /// An environment variable has a value that cannot be used.
    #[error("use the environment variable {name}={value}: {reason}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The platform's directory for caches could not be found.
    #[error("find a directory for the cache: {reason}")]
    NoCacheDirectory {
        /// What the platform answered.
        reason: String,
    },

    /// No mirror gave the file that was asked for.
    #[error("download {file} (SHA-256 {sha256}):{}", list(mirrors))]
    Download {
        /// The file's name.
        file: String,
        /// The hash it must have, in hexadecimal.
        sha256: String,
        /// Where it may be put by hand.
        place: PathBuf,
        /// Each mirror tried and what was wrong with it, without credentials.
        mirrors: Vec<String>,
    },

    /// A file is missing and the network must not be used.
    #[error("find {file} (SHA-256 {sha256}) in the cache, and the network is not to be used")]
    Offline {
        /// The file's name.
        file: String,
        /// The hash it must have, in hexadecimal.
        sha256: String,
        /// Where it may be put by hand.
        place: PathBuf,
    },

    /// The package index would have to be asked, and the network must not be used.
    #[error("find {what}, because the network is not to be used")]
    OfflineIndex {
        /// What was to be asked.
        what: String,
    },

    /// An archive is damaged or holds something it must not.
    #[error("unpack {}: {reason}", archive.display())]
    Unpack {
        /// The archive.
        archive: PathBuf,
        /// What is wrong, and in which member.
        reason: String,
    },

    /// The machine's package index or archive could not be found or read.
    #[error("find {what}: {reason}")]
    Lookup {
        /// What was looked for.
        what: String,
        /// Each place that was looked at and what it answered, without credentials.
        reason: String,
    },

    /// The HTTP client could not be set up, for example because a certificate file is broken.
    #[error("set up the HTTP client: {reason}")]
    Client {
        /// What is wrong.
        reason: String,
    },

    /// A tool is needed that is neither installed nor obtainable.
    #[error("find {tool}: {reason}")]
    Tool {
        /// The tool's name.
        tool: &'static str,
        /// Each way that was tried and what was wrong with it.
        reason: String,
        /// What a person can do.
        hint: String,
    },

    /// There is nothing for this platform.
    #[error("find {what} for the platform {platform}")]
    Platform {
        /// What is missing.
        what: &'static str,
        /// The platform, as `architecture-system`.
        platform: String,
    },
}

impl Error {
    /// An [`Error::Io`]; `action` is a verb such as "write" or "create the directory".
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                    "the disk that holds {} is full; free some space, or set FAASM_CACHE to a directory on another disk",
                    path.display()
                )),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(format!(
                    "{} cannot be used by this user; set FAASM_CACHE to a directory that can be written",
                    path.display()
                )),
                _ => None,
            },
            // What the C library calls `ENOSPC`; commands run with `LANG=C.UTF-8`.
            Self::Step { tail, .. } if tail.contains("No space left on device") => {
                Some("the disk is full; free some space, or set FAASM_CACHE to a directory on another disk".to_owned())
            }
            Self::Step { log, .. } => {
                Some(format!("the first error in {} is usually the cause", log.display()))
            }
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("install it, or put the directory it is in on PATH".to_owned())
            }
            Self::NoCacheDirectory { .. } => {
                Some("set FAASM_CACHE to a directory that can be written".to_owned())
            }
            Self::Download { place, .. } => Some(format!(
                "check the network, proxy and package index settings, or put the file at {} by hand",
                place.display()
            )),
            Self::Offline { place, .. } => {
                Some(format!("build once with the network, or put the file at {} by hand", place.display()))
            }
            Self::Recipe(error) => error.hint(),
            Self::Locked { .. } => Some("without `--locked` it is brought up to date".to_owned()),
            Self::Resolve { hint, .. } => hint.clone(),
            Self::OfflineIndex { .. } => {
                Some("do it once with the network; what is locked and downloaded then needs none".to_owned())
            }
            Self::Client { .. } => Some(
                "check what PIP_CERT, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and pip's configuration name".to_owned(),
            ),
            Self::Tool { hint, .. } => Some(hint.clone()),
            Self::Unpack { archive, .. } => {
                Some(format!("remove {}, so that it is downloaded again", archive.display()))
            }
            Self::Spawn { .. }
            | Self::Image { .. }
            | Self::Initialise { .. }
            | Self::Manifest { .. }
            | Self::Package { .. }
            | Self::Requirement(_)
            | Self::Variable { .. }
            | Self::Lookup { .. }
            | Self::Platform { .. } => None,
        }
    }
}

impl fmt::Debug for Error {
    /// The message, its causes and the hint, because this is what `fn main() -> Result<(), Error>` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        match self.hint() {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  {reason}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_is_for_people() {
        let full = Error::io("write", "/cache/file")(io::Error::from(io::ErrorKind::StorageFull));
        let text = format!("{full:?}");
        assert!(text.starts_with("failed to write /cache/file\n  caused by: "), "{text}");
        assert!(text.contains("\n  hint: the disk that holds /cache/file is full"), "{text}");

        let step = Error::Step {
            step: "configure CPython".to_owned(),
            command: "./configure --host=x".to_owned(),
            status: "exited with 77".to_owned(),
            log: "/cache/logs/configure.log".into(),
            tail: "configure: error: no compiler".to_owned(),
        };
        let text = step.to_string();
        for part in
            ["configure CPython", "./configure --host=x", "exited with 77", "configure.log", "no compiler"]
        {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }
}
