//! Connections to object stores and web servers.

use std::env;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};
use url::Url;

use super::{profile, redacted};
use crate::error::{Error, Result};

/// How long a server may take to accept a connection, and then between two pieces of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(30);

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// An object store, and a place in it.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store.
    pub(super) parts: Arc<dyn MultipartStore>,
    pub(super) path: Path,
    /// How the place is shown.
    pub(super) shown: String,
}

/// Opens the store that a URL leads to, with the credentials that the environment has. Nothing is asked yet.
pub(super) fn open(url: &Url) -> Result<Remote> {
    ring();
    let shown = redacted(url);
    let refuse = |error: object_store::Error| failed("use", &shown, &error);
    let path = Path::from_url_path(url.path()).map_err(|error| refuse(error.into()))?;
    let bucket = url.host_str().unwrap_or_default();
    fn remote<S: ObjectStore + MultipartStore>(store: S, path: Path, shown: String) -> Remote {
        let store = Arc::new(store);
        Remote { store: Arc::<S>::clone(&store) as Arc<dyn ObjectStore>, parts: store, path, shown }
    }
    Ok(match url.scheme() {
        "s3" => {
            let mut builder = profile::complete(AmazonS3Builder::from_env())?.with_bucket_name(bucket);
            let set = |key| builder.get_config_value(&key);
            let endpoint = set(AmazonS3ConfigKey::S3Endpoint).or_else(|| set(AmazonS3ConfigKey::Endpoint));
            if set(AmazonS3ConfigKey::CopyIfNotExists).is_none() {
                builder = builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
            }
            // Who names an endpoint without encryption wants it.
            let options = options().with_allow_http(endpoint.is_some_and(|it| it.starts_with("http://")));
            let builder = builder.with_client_options(options).with_retry(retry());
            remote(builder.build().map_err(refuse)?, path, shown)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            let builder = builder.with_client_options(options()).with_retry(retry());
            remote(builder.build().map_err(refuse)?, path, shown)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            let builder = builder.with_client_options(options()).with_retry(retry());
            remote(builder.build().map_err(refuse)?, path, shown)
        }
        _ => {
            let reason = "bundles can be fetched from web servers, and not be published there".to_owned();
            return Err(Error::Location { location: shown, reason });
        }
    })
}

/// A client for web servers.
pub(super) fn web() -> Result<reqwest::Client> {
    ring();
    let builder =
        reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(STALL).user_agent(USER_AGENT);
    builder.build().map_err(|error| unreachable("use", "the network", &error))
}

/// A small file, if there is one.
pub(super) fn read_small(url: &Url, limit: u64) -> Result<Option<Vec<u8>>> {
    let shown = redacted(url);
    let too_large = || Error::Store {
        action: "download",
        location: shown.clone(),
        reason: format!("it has more than {limit} bytes"),
        hint: None,
    };
    block_on(async {
        if matches!(url.scheme(), "http" | "https") {
            let mut answer =
                web()?.get(url.clone()).send().await.map_err(|it| unreachable("download", &shown, &it))?;
            if matches!(answer.status().as_u16(), 404 | 410) {
                return Ok(None);
            }
            check_status(&answer, &shown)?;
            let mut content = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|it| unreachable("download", &shown, &it))? {
                content.extend_from_slice(&chunk);
                if content.len() as u64 > limit {
                    return Err(too_large());
                }
            }
            return Ok(Some(content));
        }
        let remote = open(url)?;
        let found = match remote.store.get(&remote.path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(|it| failed("download", &shown, &it))?,
        };
        if found.meta.size > limit {
            return Err(too_large());
        }
        let bytes = found.bytes().await.map_err(|it| failed("download", &shown, &it))?;
        Ok(Some(bytes.to_vec()))
    })
}

/// Runs what talks to the network, on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(Error::io("start an event loop", env::current_exe().unwrap_or_default()))?;
    runtime.block_on(work)
}

/// An error of an object store, as people are told.
pub(super) fn failed(action: &'static str, location: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Kind;

    let text = without_queries(&explain(error));
    let hint = if text.contains("RequestTimeTooSkewed") {
        Some("the clock of this machine is wrong; set it, and run the command again")
    } else if text.contains("NoSuchBucket") {
        Some("create the bucket, or name another one")
    } else {
        match error {
            Kind::NotFound { .. } => Some("check the bucket and the name"),
            Kind::Unauthenticated { .. } | Kind::PermissionDenied { .. } => Some(
                "credentials come from the environment, a profile or the machine's role, as for the store's own tools; check \
                 which ones are used and what they may do",
            ),
            Kind::Generic { .. } => Some("check the endpoint and the connection, and run the command again"),
            _ => None,
        }
    };
    Error::Store { action, location: location.to_owned(), reason: text, hint }
}

/// That there is no such object is fine. That there is no bucket is an error.
pub(super) fn without_bucket(
    action: &'static str,
    location: &str,
    error: &object_store::Error,
) -> Result<()> {
    let error = failed(action, location, error);
    match &error {
        Error::Store { reason, .. } if reason.contains("NoSuchBucket") => Err(error),
        _ => Ok(()),
    }
}

/// An error of a web server that does not answer.
pub(super) fn unreachable(action: &'static str, location: &str, error: &reqwest::Error) -> Error {
    let reason = without_queries(&explain(error));
    let hint = Some("check the address and the connection, and run the command again");
    Error::Store { action, location: location.to_owned(), reason, hint }
}

/// Refuses answers that are no success.
pub(super) fn check_status(answer: &reqwest::Response, location: &str) -> Result<()> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("the server answers {status}");
    let hint = Some("check the address, and whether it asks for credentials");
    Err(Error::Store { action: "download", location: location.to_owned(), reason, hint })
}

fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Queries of URLs may be credentials.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => format!("{address}?…"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A whole transfer may take as long as it needs, as long as something arrives.
fn options() -> ClientOptions {
    let agent = reqwest::header::HeaderValue::from_static(USER_AGENT);
    ClientOptions::new()
        .with_user_agent(agent)
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled()
        .with_read_timeout(STALL)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 4, retry_timeout: Duration::from_secs(60) }
}

/// The encryption that the workspace has. A second call changes nothing.
fn ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_not_shown() {
        let text = "error sending request for url (https://a.b/c?sig=secret&x=1) after\n  3 tries? yes";
        assert_eq!(
            without_queries(text),
            "error sending request for url (https://a.b/c?… after 3 tries? yes"
        );
    }

    #[test]
    fn nothing_is_published_on_web_servers() {
        let error = open(&Url::parse("https://example.org/x").unwrap()).err().unwrap();
        assert!(error.to_string().contains("not be published"), "{error}");
    }
}
