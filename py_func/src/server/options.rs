//! Options of a command line, for programs that are servers.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use faasm_bundle::{Location, PublicKey};

use super::{Access, Limits, Named, ServerError, Settings, Tls, Tokens};
use crate::registry::{Bucket, Layered, Registry, RegistryError, Storage};
use crate::runtime::RuntimeBuilder;

/// Who may use a server, where its functions are, and how much requests may take.
#[derive(Debug, Args)]
pub struct Options {
    /// The tokens by which clients are let in, as the command `token` makes them
    #[arg(long, value_name = "FILE", env = "FAASM_TOKENS")]
    tokens: Option<PathBuf>,
    /// Let everyone in who can reach the server
    #[arg(long, conflicts_with = "tokens")]
    insecure_no_auth: bool,
    /// The certificate, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where functions are, in place of the store, for several servers to share: a URL that begins with s3://, gs:// or az://
    #[arg(long, value_name = "URL", env = "FAASM_STORAGE", hide_env_values = true)]
    storage: Option<String>,
    /// Functions to have besides those that are uploaded, which go before them: a directory of files USER/FUNCTION.py, .zip, .tar or
    /// .tar.gz
    #[arg(long, value_name = "DIR", env = "FAASM_FUNCTIONS")]
    functions: Option<PathBuf>,
    /// How many versions of a function are kept
    #[arg(long, value_name = "COUNT", default_value = "10")]
    versions: NonZero<usize>,
    /// How large bodies of requests, and outputs of calls if nothing else is said of them, may be, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    body: usize,
    /// How many requests a second each client may make [default: any number]
    #[arg(long, value_name = "REQUESTS")]
    rate: Option<NonZero<u32>>,
    /// How many connections one address may have open, and at most half of all 4096
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections_per_address)]
    connections_per_address: usize,
    /// How many calls compute at a time [default: one for each processor]
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZero<usize>>,
}

impl Options {
    /// Where functions are to be, if not in the store alone, as a URL: none on this machine.
    pub fn storage_url(&self) -> Option<&str> {
        self.storage.as_deref()
    }

    /// The store, with as many versions as are to be kept.
    pub fn store(&self, store: Registry) -> Registry {
        store.keep_versions(self.versions)
    }

    /// Where functions are, if not in the store alone.
    ///
    /// # Errors
    ///
    /// When the storage cannot be reached, or what is to be laid below it cannot be read.
    pub fn open_storage(&self, store: &Registry) -> Result<Option<Arc<dyn Storage>>, RegistryError> {
        let bucket = |url: &String| -> Result<Arc<dyn Storage>, RegistryError> {
            Ok(Arc::new(Bucket::open(&Location::parse(url)?)?.keep_versions(self.versions)))
        };
        let storage = self.storage.as_ref().map(bucket).transpose()?;
        let Some(directory) = &self.functions else { return Ok(storage) };
        let upper = storage.unwrap_or_else(|| Arc::new(store.clone()));
        Ok(Some(Arc::new(Layered::open(directory, upper)?)))
    }

    /// A runtime on which as many calls compute, and outputs may be as large, as the command line says.
    pub fn runtime(&self, runtime: RuntimeBuilder) -> RuntimeBuilder {
        let runtime = runtime.output_limit(self.body << 20);
        match self.threads {
            Some(threads) => runtime.threads(threads),
            None => runtime,
        }
    }

    /// The settings of a server.
    ///
    /// # Errors
    ///
    /// When the file with the tokens cannot be read.
    pub fn settings(
        &self,
        storage: Option<Arc<dyn Storage>>,
        trust: Option<PublicKey>,
        named: Option<Named>,
    ) -> Result<Settings, ServerError> {
        let access = match (&self.tokens, self.insecure_no_auth) {
            (Some(path), _) => Access::Tokens(Tokens::read(path)?),
            (None, true) => Access::Anyone,
            (None, false) => Access::Loopback,
        };
        let tls = self.tls_certificate.clone().zip(self.tls_key.clone());
        let limits = Limits {
            body: self.body << 20,
            rate: self.rate,
            connections_per_address: self.connections_per_address,
            ..Limits::default()
        };
        let tls = tls.map(|(certificate, key)| Tls { certificate, key });
        Ok(Settings { access, tls, limits, storage, trust, named, ..Settings::default() })
    }
}
