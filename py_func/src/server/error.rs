//! Why a server could not be started.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{RegistryError, state};

/// Why a server could not be started. Every message continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Others than programs of this machine could reach a server that asks for no token.
    #[error("listen on {address}: other machines can reach that, and no tokens are set up")]
    Exposed {
        /// Where it was to listen.
        address: SocketAddr,
    },

    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },

    /// A certificate or its key cannot be used.
    #[error("use {} for TLS: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file of tokens cannot be used.
    #[error("use the tokens in {}: {reason}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What the environment says about traces cannot be used.
    #[error("send traces: {reason}")]
    Traces {
        /// What is wrong with it.
        reason: String,
    },

    /// The image cannot be used.
    #[error(transparent)]
    Runtime(#[from] crate::Error),

    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] RegistryError),

    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),

    /// A thread could not be started, or a signal not be listened to.
    #[error("start the server's threads")]
    Threads(#[source] io::Error),
}

impl ServerError {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exposed { .. } => Some(
                "name a file of tokens with --tokens, listen on 127.0.0.1, or say --insecure-no-auth if something else keeps \
                 strangers away"
                    .to_owned(),
            ),
            Self::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program listens there; choose another address with --listen".to_owned())
                }
                io::ErrorKind::PermissionDenied => Some("choose a port above 1023".to_owned()),
                io::ErrorKind::AddrNotAvailable => Some("choose an address of this machine".to_owned()),
                _ => None,
            },
            Self::State(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Runtime(error) => error.hint(),
            Self::Traces { .. } => Some("look at the variables whose names begin with OTEL_".to_owned()),
            Self::Tls { .. } | Self::Tokens { .. } | Self::Threads(_) => None,
        }
    }
}
