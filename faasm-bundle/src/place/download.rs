//! Downloads, which go on where they were cut off.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::remote::{self, Remote, check_status, failed, unreachable};
use super::{OnBytes, redacted};
use crate::error::{Error, Result};
use crate::hash;

/// The size of a download, in bytes.
const LIMIT: u64 = 8 << 30;

/// How often a connection may be cut without anything having arrived before it is given up.
const ATTEMPTS: u32 = 4;

/// A bundle as a file of this machine.
#[derive(Debug)]
pub struct Downloaded {
    path: PathBuf,
    description: Option<PathBuf>,
}

impl Downloaded {
    pub(super) fn here(path: &Path) -> Self {
        Self { path: path.to_path_buf(), description: None }
    }

    /// Where the bundle is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what was downloaded. What is not removed is not downloaded again, as long as the same is published.
    ///
    /// # Errors
    ///
    /// When the files cannot be removed.
    pub fn remove(self) -> Result<()> {
        for path in self.description.iter().flat_map(|it| [it, &self.path]) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }
}

/// What is known of a download that has begun. Beside it, with the same name and `.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Description {
    /// What tells versions of an object apart.
    etag: Option<String>,
    len: u64,
}

/// Downloads the bundle at a URL into a directory.
pub(super) fn download(url: &Url, directory: &Path, on_bytes: OnBytes<'_>) -> Result<Downloaded> {
    fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
    // The name is that of the URL with all that is in it, and shows nothing of that.
    let path = directory.join(hash::hex(Sha256::new_with_prefix(url.as_str())));
    let description = path.with_extension("json");
    remote::block_on(async {
        let source = Source::open(url).await?;
        let found = source.describe().await?;
        if found.len > LIMIT {
            return Err(source.refuse(format!("it has {} bytes, and may have {LIMIT}", found.len)));
        }
        let known = fs::read(&description).ok().and_then(|it| serde_json::from_slice(&it).ok());
        // Without a tag nobody knows whether the rest belongs to what is there.
        let resumes = found.etag.is_some() && known.as_ref() == Some(&found);
        let file = File::options().create(true).append(true).open(&path);
        let mut file = file.map_err(Error::io("open", &path))?;
        let mut there = file.metadata().map_err(Error::io("open", &path))?.len();
        if !resumes || there > found.len {
            file.set_len(0).map_err(Error::io("write", &path))?;
            there = 0;
            let text = serde_json::to_vec(&found).unwrap_or_default();
            fs::write(&description, text).map_err(Error::io("write", &description))?;
        }
        let mut attempts = 0;
        while there < found.len {
            on_bytes(there, found.len);
            let before = there;
            let Err(error) = source.append(&found, &path, &mut file, &mut there, on_bytes).await else {
                break;
            };
            attempts = if there > before { 0 } else { attempts + 1 };
            if attempts >= ATTEMPTS || !matches!(error, Error::Store { .. }) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(200) * 2_u32.pow(attempts)).await;
        }
        if there != found.len {
            return Err(source.refuse(format!("{there} bytes arrived of {}", found.len)));
        }
        on_bytes(found.len, found.len);
        Ok(())
    })?;
    Ok(Downloaded { path, description: Some(description) })
}

enum Source {
    Store(Remote),
    Web { client: reqwest::Client, url: Url, shown: String },
}

impl Source {
    async fn open(url: &Url) -> Result<Self> {
        Ok(match url.scheme() {
            "http" | "https" => Self::Web { client: remote::web()?, url: url.clone(), shown: redacted(url) },
            _ => Self::Store(remote::open(url)?),
        })
    }

    fn shown(&self) -> &str {
        match self {
            Self::Store(remote) => &remote.shown,
            Self::Web { shown, .. } => shown,
        }
    }

    fn refuse(&self, reason: String) -> Error {
        let hint = Some("run the command again; it goes on where it stopped");
        Error::Store { action: "download", location: self.shown().to_owned(), reason, hint }
    }

    async fn describe(&self) -> Result<Description> {
        match self {
            Self::Store(remote) => {
                let refused = |it: &StoreError| failed("download", &remote.shown, it);
                let meta = match remote.store.head(&remote.path).await {
                    // The answer to HEAD has no body, in which the reason would be: a clock that is wrong, for instance.
                    Err(error @ (StoreError::NotFound { .. } | StoreError::PermissionDenied { .. })) => {
                        let reason = remote.store.get_range(&remote.path, 0..1).await;
                        return Err(refused(reason.err().as_ref().unwrap_or(&error)));
                    }
                    other => other.map_err(|it| refused(&it))?,
                };
                Ok(Description { etag: meta.e_tag, len: meta.size })
            }
            // Some addresses are good for GET alone, so what is there is found out by asking for its first byte.
            Self::Web { client, url, shown } => {
                let request = client.get(url.clone()).header("range", "bytes=0-0");
                let answer = request.send().await.map_err(|it| unreachable("download", shown, &it))?;
                check_status(&answer, shown)?;
                let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
                let total = match answer.status().as_u16() {
                    206 => header("content-range").and_then(|it| it.rsplit_once('/')?.1.parse().ok()),
                    _ => answer.content_length(),
                };
                let len =
                    total.ok_or_else(|| self.refuse("the server does not say how large it is".to_owned()))?;
                // A weak tag says that two versions are as good as each other, and not that they are the same bytes.
                let etag =
                    header("etag").filter(|it| !it.starts_with("W/") && answer.status().as_u16() == 206);
                Ok(Description { etag, len })
            }
        }
    }

    /// Appends what is missing. Whatever arrived before it failed stays.
    async fn append(
        &self,
        found: &Description,
        path: &Path,
        file: &mut File,
        there: &mut u64,
        on_bytes: OnBytes<'_>,
    ) -> Result<()> {
        let from = *there;
        let mut write = |chunk: &[u8]| {
            if *there + chunk.len() as u64 > found.len {
                return Err(self.refuse("more arrives than was announced".to_owned()));
            }
            file.write_all(chunk).map_err(Error::io("write", path))?;
            *there += chunk.len() as u64;
            on_bytes(*there, found.len);
            Ok(())
        };
        match self {
            Self::Store(remote) => {
                let range = Some(GetRange::Bounded(from..found.len));
                let options = GetOptions { range, if_match: found.etag.clone(), ..GetOptions::default() };
                let refuse = |it: object_store::Error| failed("download", &remote.shown, &it);
                let mut stream =
                    remote.store.get_opts(&remote.path, options).await.map_err(refuse)?.into_stream();
                while let Some(chunk) = stream.next().await {
                    write(&chunk.map_err(refuse)?)?;
                }
            }
            Self::Web { client, url, shown } => {
                let mut request = client.get(url.clone());
                if let Some(etag) = found.etag.as_ref().filter(|_| from > 0) {
                    request = request.header("range", format!("bytes={from}-")).header("if-range", etag);
                } else if from > 0 {
                    return Err(self.refuse("the connection was cut, and the server cannot go on".to_owned()));
                }
                let mut answer = request.send().await.map_err(|it| unreachable("download", shown, &it))?;
                check_status(&answer, shown)?;
                if from > 0 && answer.status().as_u16() != 206 {
                    return Err(self.refuse("it was replaced while it was downloaded".to_owned()));
                }
                while let Some(chunk) =
                    answer.chunk().await.map_err(|it| unreachable("download", shown, &it))?
                {
                    write(&chunk)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;

    /// A web server that has one file, and cuts connections.
    struct Server {
        content: Arc<Mutex<(String, Vec<u8>)>>,
        url: Url,
    }

    /// Each connection gets so many bytes of the file and no more; after the last it is as with the last.
    fn serve(ranges: bool, cuts: &'static [usize]) -> Server {
        let content = Arc::new(Mutex::new((
            "\"1\"".to_owned(),
            (0..100_000_u32).map(|it| it as u8).collect::<Vec<_>>(),
        )));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://user:secret@{}/a.tar.zst?token=secret", listener.local_addr().unwrap());
        let served = Arc::clone(&content);
        thread::spawn(move || {
            for (answered, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let headers: Vec<String> = lines.by_ref().take_while(|it| !it.is_empty()).collect();
                let header =
                    |name: &str| headers.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix(": "));
                let (tag, content) = served.lock().unwrap().clone();
                let range = header("range")
                    .filter(|_| ranges)
                    .and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
                let range = range.filter(|_| header("if-range").is_none_or(|it| it == tag));
                let (from, to) = range.map_or((0, content.len()), |(from, to)| {
                    (from.parse().unwrap(), to.parse::<usize>().map_or(content.len(), |it| it + 1))
                });
                let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
                let mut head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", to - from);
                head += &format!(
                    "content-range: bytes {from}-{}/{}\r\netag: {tag}\r\n\r\n",
                    to - 1,
                    content.len()
                );
                let cut = cuts[answered.min(cuts.len() - 1)].min(to - from);
                // The client may have seen enough.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&content[from..from + cut]));
            }
        });
        Server { content, url: Url::parse(&url).unwrap() }
    }

    #[test]
    fn what_was_cut_off_goes_on() {
        for (ranges, cuts, arrives) in [
            (true, &[usize::MAX][..], true),
            // The first connection only asks what there is.
            (true, &[1, 1000, 0, 50_000, 0, 0, 40_000, usize::MAX], true),
            (true, &[1, 1000, 0], false),
            // Where nobody can go on, it begins anew.
            (false, &[usize::MAX], true),
            (false, &[1000], false),
        ] {
            let server = serve(ranges, cuts);
            let directory = tempfile::tempdir().unwrap();
            let outcome = download(&server.url, directory.path(), &|done, total| assert!(done <= total));
            match outcome {
                Ok(downloaded) => {
                    assert!(arrives, "{cuts:?}");
                    assert!(fs::read(downloaded.path()).unwrap() == server.content.lock().unwrap().1);
                    downloaded.remove().unwrap();
                    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
                }
                Err(error) => {
                    assert!(!arrives, "{cuts:?}: {error}");
                    assert!(!error.to_string().contains("secret"), "{error}");
                    assert!(error.hint().is_some());
                }
            }
        }
    }

    #[test]
    fn what_was_replaced_is_downloaded_anew() {
        let server = serve(true, &[1, 1000, 0, 0, 0, 0, 1, usize::MAX]);
        let directory = tempfile::tempdir().unwrap();
        download(&server.url, directory.path(), &|_, _| ()).unwrap_err();
        *server.content.lock().unwrap() = ("\"2\"".to_owned(), vec![7; 2000]);
        let downloaded = download(&server.url, directory.path(), &|_, _| ()).unwrap();
        assert!(fs::read(downloaded.path()).unwrap() == vec![7; 2000]);
    }
}
