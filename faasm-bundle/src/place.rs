//! Places where bundles lie: directories, web servers and object stores.

mod download;
mod objects;
mod profile;
mod publish;
mod remote;

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

pub use download::Downloaded;
pub use objects::{Listed, Object, Objects, Tag};
pub use publish::{Publication, publish};

use crate::error::{Error, Result};
use crate::manifest::EXTENSION;
use crate::sign::{SIGNATURE_EXTENSION, SIGNATURE_LIMIT};

/// What a transfer reports: how many bytes of how many are there.
pub type OnBytes<'a> = &'a dyn Fn(u64, u64);

/// A bundle, or where bundles are published.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file or directory of this machine.
    Path(PathBuf),
    /// `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, or, to fetch from, `https://` and `http://`.
    Url(Url),
}

/// The schemes of object stores.
const OBJECT_STORES: [&str; 3] = ["s3", "gs", "az"];

impl Location {
    /// Understands a path or a URL.
    ///
    /// # Errors
    ///
    /// When it is a URL that leads to nothing this crate knows.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |location: String, reason: &str| Error::Location { location, reason: reason.to_owned() };
        // A path may have a colon. It takes two slashes to be a URL.
        if !text.contains("://") {
            return Ok(Self::Path(text.into()));
        }
        let url = Url::parse(text).map_err(|it| refuse("…".to_owned(), &it.to_string()))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                path.map(Self::Path).map_err(|()| refuse(redacted(&url), "it names no path of this machine"))
            }
            scheme if OBJECT_STORES.contains(&scheme) => {
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(refuse(redacted(&url), "it names no bucket"));
                }
                if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
                    let reason = "credentials and settings come from the environment, and not from the URL";
                    return Err(refuse(redacted(&url), reason));
                }
                Ok(Self::Url(url))
            }
            "http" | "https" => Ok(Self::Url(url)),
            scheme => Err(refuse(redacted(&url), &format!("there is no store for {scheme}://"))),
        }
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Path(_))
    }

    /// The last name in it.
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Path(path) => Some(path.file_name()?.to_string_lossy().into_owned()),
            Self::Url(url) => url.path_segments()?.next_back().filter(|it| !it.is_empty()).map(str::to_owned),
        }
    }

    /// What is beside it, with its name and more.
    fn with_suffix(&self, suffix: &str) -> Self {
        match self {
            Self::Path(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                Self::Path(name.into())
            }
            Self::Url(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}{suffix}", url.path()));
                Self::Url(url)
            }
        }
    }

    /// What is in it.
    fn join(&self, name: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.join(name)),
            Self::Url(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
                Self::Url(url)
            }
        }
    }

    /// Gets the bundle that is here into a directory, unless it is on this machine. A download that was cut off goes on where it
    /// stopped, also when another process began it.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be had. What is in the directory then is for the next attempt.
    pub fn download(&self, directory: &Path, on_bytes: OnBytes<'_>) -> Result<Downloaded> {
        match self {
            Self::Path(path) if path.is_dir() => Err(Error::Location {
                location: path.display().to_string(),
                reason: format!("it is a directory, and no bundle, whose name ends with {EXTENSION}"),
            }),
            Self::Path(path) => Ok(Downloaded::here(path)),
            Self::Url(url) => download::download(url, directory, on_bytes),
        }
    }

    /// The signature beside the bundle that is here.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be had.
    pub fn signature(&self) -> Result<String> {
        let signature = self.with_suffix(SIGNATURE_EXTENSION);
        let missing = |reason: String| Error::Signature { bundle: self.to_string(), reason };
        let bytes = match &signature {
            Self::Path(path) => match std::fs::metadata(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                metadata if metadata.as_ref().is_ok_and(|it| it.len() > SIGNATURE_LIMIT) => {
                    return Err(missing("what is beside it is no signature".to_owned()));
                }
                _ => Some(std::fs::read(path).map_err(Error::io("read", path))?),
            },
            Self::Url(url) => remote::read_small(url, SIGNATURE_LIMIT)?,
        };
        let bytes = bytes.ok_or_else(|| missing("it is not signed".to_owned()))?;
        String::from_utf8(bytes).map_err(|_| missing("what is beside it is no signature".to_owned()))
    }
}

/// Without credentials, which may be in any part of a URL.
impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(out),
            Self::Url(url) => redacted(url).fmt(out),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// A URL as it may be shown.
fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // These fail for URLs that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood() {
        for (text, shown, name) in [
            ("a/b.tar.zst", "a/b.tar.zst", Some("b.tar.zst")),
            ("C:x", "C:x", Some("C:x")),
            ("file:///a/b.tar.zst", "/a/b.tar.zst", Some("b.tar.zst")),
            ("s3://bucket/a/b.tar.zst", "s3://bucket/a/b.tar.zst", Some("b.tar.zst")),
            ("s3://bucket", "s3://bucket", None),
            ("gs://bucket/", "gs://bucket/", None),
            ("https://user:secret@example.org/a?token=secret#secret", "https://example.org/a", Some("a")),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(
                (location.to_string().as_str(), location.file_name().as_deref()),
                (shown, name),
                "{text}"
            );
        }
        for text in
            ["ftp://example.org/a", "s3:///a", "s3://user:secret@bucket/a", "s3://bucket/a?secret", "://"]
        {
            let error = Location::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn names_are_added() {
        for (text, below, beside) in [
            ("a", "a/b", "a.x"),
            ("s3://bucket", "s3://bucket/b", "s3://bucket.x"),
            ("s3://bucket/a/", "s3://bucket/a/b", "s3://bucket/a/.x"),
            ("https://h/a?q", "https://h/a/b", "https://h/a.x"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.join("b").to_string(), below);
            if text != "s3://bucket" {
                assert_eq!(location.with_suffix(".x").to_string(), beside);
            }
        }
    }
}
