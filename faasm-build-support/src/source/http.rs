//! The HTTP client and what may be said about a URL.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::{Certificate, Proxy, StatusCode, Url};

use crate::error::{Error, Result};

/// A site that does not answer is given up after this long, because there are other mirrors.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives for this long is given up. A download as a whole may take any time.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Variables that name further certificates to trust, in PEM, as pip and the libraries below it read them.
/// The system's own certificates, `SSL_CERT_FILE` and `SSL_CERT_DIR` are always used.
const CERTIFICATE_VARIABLES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// Why a request came to nothing.
pub(super) enum Failure {
    /// It may work later: the connection broke, the server is overloaded.
    Passing(String),
    /// It will not work.
    Lasting(String),
    /// This machine is the reason, so no other server need be asked.
    Machine(Error),
}

impl Failure {
    pub(super) fn from_status(status: StatusCode) -> Self {
        let passing = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        let reason = format!("the server answers {status}");
        if passing { Self::Passing(reason) } else { Self::Lasting(reason) }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() || error.is_redirect() {
            Self::Lasting(explain(error))
        } else {
            Self::Passing(explain(error))
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Lookup { .. } => Self::Lasting(format!("failed to {error}")),
            other => Self::Machine(other),
        }
    }
}

/// A client that uses the system's certificates and proxies, `certificates` as well, and `proxy` instead of
/// the system's.
///
/// Must not be used on a thread that runs asynchronous tasks: it blocks.
pub(super) fn client(certificates: Option<&Path>, proxy: Option<&str>) -> Result<Client> {
    let mut builder = builder(STALL_TIMEOUT);
    let from_variables =
        CERTIFICATE_VARIABLES.iter().filter_map(|name| Some(PathBuf::from(env::var_os(name)?)));
    for path in
        from_variables.chain(certificates.map(Path::to_path_buf)).filter(|it| !it.as_os_str().is_empty())
    {
        builder = builder.tls_certs_merge(read_certificates(&path)?);
    }
    if let Some(proxy) = proxy {
        // The error is not shown, because it may show a password.
        let unusable =
            |_| Error::Client { reason: "the proxy in pip's configuration is not a URL".to_owned() };
        builder = builder.proxy(Proxy::all(proxy).map_err(unusable)?);
    }
    builder.build().map_err(|error| Error::Client { reason: explain(error) })
}

/// What all clients have in common.
pub(super) fn builder(stall_timeout: Duration) -> reqwest::blocking::ClientBuilder {
    // This one is written in Rust and assembly and needs no CMake to build. Failing means that the program
    // has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        // For a blocking client this is the time for the response to begin, and then for each read.
        .timeout(stall_timeout)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
}

/// A URL as it may be shown: without credentials, which are also kept in queries.
pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// An error of the client with its causes, without the URL it repeats, which may have credentials.
pub(super) fn explain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The same for an error while a body is read.
pub(super) fn explain_read(error: io::Error) -> String {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => explain(error),
        Err(error) => error.to_string(),
    }
}

/// Certificates from a file, or from every file of a directory that has some.
fn read_certificates(path: &Path) -> Result<Vec<Certificate>> {
    let Ok(entries) = fs::read_dir(path) else {
        let certificates = read_certificate_file(path)?;
        if certificates.is_empty() {
            return Err(Error::Client { reason: format!("{} holds no certificate", path.display()) });
        }
        return Ok(certificates);
    };
    let paths = entries.filter_map(|it| Some(it.ok()?.path())).filter(|it| it.is_file());
    Ok(paths
        .map(|path| read_certificate_file(&path))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn read_certificate_file(path: &Path) -> Result<Vec<Certificate>> {
    let pem = fs::read(path).map_err(Error::io("read the certificates in", path))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| Error::Client {
        reason: format!("{} holds a broken certificate: {}", path.display(), explain(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let url = Url::parse("https://user:secret@example.org/a/b.whl?token=secret#sha256=1").unwrap();
        assert_eq!(redacted(&url), "https://example.org/a/b.whl");
    }

    #[test]
    fn errors_do_not_repeat_the_url() {
        let client = builder(STALL_TIMEOUT).no_proxy().build().unwrap();
        // Nothing listens on port 1.
        let text = explain(client.get("http://user:secret@127.0.0.1:1/?token=secret").send().unwrap_err());
        assert!(!text.contains("secret"), "{text}");
        assert!(text.to_lowercase().contains("refused"), "{text}");
    }

    #[test]
    fn a_broken_certificate_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        assert!(read_certificates(&path).unwrap_err().to_string().contains("ca.pem"));
        for content in ["-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "no certificate"] {
            fs::write(&path, content).unwrap();
            let error = read_certificates(&path).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
    }
}
