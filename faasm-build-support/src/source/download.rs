//! Getting a pinned file from the first mirror that has it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::http::{Failure, client, explain_read, redacted};
use super::pin::{Mirror, Pin};
use super::{debian, index, pip, unpack};
use crate::cache::{hash_file, hex, touch};
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::{Context, Event};

/// The waits before the mirrors that may recover are tried again. An unreachable mirror is not waited for
/// while there is another one.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

const TIME_BETWEEN_EVENTS: Duration = Duration::from_millis(100);

/// The path of the file that `pin` names, in the cache's `downloads` directory, downloaded if it is not
/// there. It is whole: its hash is checked each time.
///
/// What has arrived when a download breaks is kept and continued, by the next mirror or the next build. Must
/// not be called on a thread that runs asynchronous tasks: it blocks.
///
/// # Errors
///
/// [`Error::Download`] with every mirror's reason when none has the file, [`Error::Offline`] when the network
/// would be needed but must not be used, [`Error::Io`] when the cache cannot be written, for example because
/// the disk is full.
pub fn fetch(cx: &Context, pin: &Pin<'_>) -> Result<PathBuf> {
    fetch_with(cx, pin, &WAITS, |mirror| locate(cx, mirror, pin.file))
}

/// A client with the URLs at which a mirror may have a file.
type Source = (Client, Vec<Url>);

/// [`fetch`] with the parts that tests replace: the waits between rounds, and how a mirror is found.
fn fetch_with(
    cx: &Context,
    pin: &Pin<'_>,
    waits: &[Duration],
    locate: impl Fn(&Mirror<'_>) -> Result<Source, Failure>,
) -> Result<PathBuf> {
    if !pin.is_sound() {
        let reason =
            format!("`{}` and its SHA-256 `{}` are no name and hash of a file", pin.file, pin.sha256);
        return Err(Error::Lookup { what: format!("a file of {}", pin.name), reason });
    }
    let directory = cx.cache.root().join("downloads");
    fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
    let path = directory.join(format!("{}-{}", pin.sha256, pin.file));
    let part = directory.join(format!("{}-{}.part", pin.sha256, pin.file));
    let step = format!("download {}", pin.file);

    cx.cache.hold(&path)?;
    cx.cache.hold(&part)?;
    let waiting = || cx.message(&step, "waiting for another build that downloads it");
    let _downloading = cx.cache.lock_for_building(&path, waiting)?;
    if is_whole(&path, pin)? {
        touch(&path);
        return Ok(path);
    }
    if cx.offline {
        let (file, sha256) = (pin.file.to_owned(), pin.sha256.to_owned());
        return Err(Error::Offline { file, sha256, place: path });
    }

    (cx.progress)(Event::Started { step: step.clone() });
    let started = Instant::now();
    let result = match from_any_mirror(cx, pin, &part, waits, locate) {
        Ok(()) => fs::rename(&part, &path).map_err(Error::io("create", &path)),
        Err(Exhausted::Mirrors(mirrors)) => {
            let (file, sha256) = (pin.file.to_owned(), pin.sha256.to_owned());
            Err(Error::Download { file, sha256, place: path.clone(), mirrors })
        }
        Err(Exhausted::Machine(error)) => Err(error),
    };
    (cx.progress)(match &result {
        Ok(()) => Event::Finished { step, seconds: started.elapsed().as_secs_f64(), cached: false },
        Err(error) => Event::Failed { step, error: error.to_string() },
    });
    result.map(|()| path)
}

/// Why there is no file: each mirror has its reason, or this machine has one.
enum Exhausted {
    Mirrors(Vec<String>),
    Machine(Error),
}

/// Writes the whole file to `part`. Goes through the mirrors in rounds and drops those that will not recover.
fn from_any_mirror(
    cx: &Context,
    pin: &Pin<'_>,
    part: &Path,
    waits: &[Duration],
    locate: impl Fn(&Mirror<'_>) -> Result<Source, Failure>,
) -> Result<(), Exhausted> {
    let mut reasons = vec![String::new(); pin.mirrors.len()];
    let mut lost = vec![false; pin.mirrors.len()];
    for round in 0..=waits.len() {
        for (number, mirror) in pin.mirrors.iter().enumerate() {
            if lost[number] {
                continue;
            }
            match locate(mirror).and_then(|(client, urls)| from_mirror(cx, pin, part, &client, &urls)) {
                Ok(()) => return Ok(()),
                Err(Failure::Passing(reason)) => reasons[number] = reason,
                Err(Failure::Lasting(reason)) => {
                    reasons[number] = reason;
                    lost[number] = true;
                }
                Err(Failure::Machine(error)) => return Err(Exhausted::Machine(error)),
            }
        }
        match waits.get(round) {
            Some(wait) if lost.contains(&false) => std::thread::sleep(*wait),
            _ => break,
        }
    }
    Err(Exhausted::Mirrors(reasons))
}

/// The URLs at which a mirror should have `file`, and the client with which to ask.
fn locate(cx: &Context, mirror: &Mirror<'_>, file: &str) -> Result<Source, Failure> {
    match mirror {
        Mirror::Url(url) => Ok((client(None, None)?, vec![parse(url)?])),
        Mirror::DebianPool(path) => {
            let roots = debian::archives()?;
            let urls = roots.iter().map(|root| parse(&format!("{root}{path}"))).collect::<Result<_, _>>()?;
            Ok((client(None, None)?, urls))
        }
        Mirror::PythonIndex { project } => {
            let (client, root) = package_index(cx)?;
            let url = index::find(&client, &root, project, file)?;
            Ok((client, vec![url]))
        }
    }
}

/// The package index that pip uses, and the client with which to ask it.
fn package_index(cx: &Context) -> Result<(Client, Url), Failure> {
    let settings = pip::Settings::read();
    let client = client(settings.certificates.as_deref(), settings.proxy.as_deref())?;
    let root = match &settings.index {
        Some(url) => parse(url)?,
        None => pip::default_index(cx)?,
    };
    Ok((client, root))
}

/// All files of a project on the package index that pip uses. None, when the index does not know the project.
///
/// # Errors
///
/// [`Error::Lookup`] when the index cannot be reached, [`Error::OfflineIndex`] when it must not be.
pub(crate) fn project_files(cx: &Context, project: &str) -> Result<Vec<index::File>> {
    let what = || format!("the files of {project}");
    ask(cx, what, |client, root| index::files(client, root, project))
}

/// The `METADATA` of a wheel on the package index: the file beside it (PEP 658) where there is one, else the one in it.
///
/// # Errors
///
/// As [`project_files`] and [`fetch`].
pub(crate) fn wheel_metadata(cx: &Context, project: &str, wheel: &index::File) -> Result<String> {
    let sha256 = wheel.sha256().unwrap_or_default();
    let directory = cx.cache.root().join("downloads");
    let kept = directory.join(format!("metadata-{sha256}-{}", wheel.name));
    if let Ok(text) = fs::read_to_string(&kept) {
        touch(&kept);
        return Ok(text);
    }
    let Some((url, digest)) = wheel.metadata() else {
        let mirrors = [Mirror::PythonIndex { project }];
        let pin = Pin { name: project, version: "", file: &wheel.name, sha256, mirrors: &mirrors };
        return unpack::read_wheel_metadata(&fetch(cx, &pin)?);
    };
    let what = || format!("the metadata of {}", wheel.name);
    let text = ask(cx, what, |client, _| {
        let response = client.get(url.clone()).send()?;
        if !response.status().is_success() {
            return Err(Failure::from_status(response.status()));
        }
        let bytes = response.bytes()?;
        if digest.is_some_and(|digest| hex(&Sha256::digest(&bytes)) != digest) {
            return Err(Failure::Lasting(format!("{} has the wrong SHA-256", redacted(&url))));
        }
        // What is not UTF-8 is so in parts that nobody reads: the description, names of people.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })?;
    fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
    fs_util::write_whole(&kept, text.as_bytes())?;
    Ok(text)
}

/// Asks the package index, again while that may help.
fn ask<T>(
    cx: &Context,
    what: impl Fn() -> String,
    request: impl Fn(&Client, &Url) -> Result<T, Failure>,
) -> Result<T> {
    if cx.offline {
        return Err(Error::OfflineIndex { what: what() });
    }
    let mut waits = WAITS.iter();
    loop {
        let reason = match package_index(cx).and_then(|(client, root)| request(&client, &root)) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Machine(error)) => return Err(error),
            Err(Failure::Lasting(reason)) => reason,
            Err(Failure::Passing(reason)) => match waits.next() {
                Some(wait) => {
                    std::thread::sleep(*wait);
                    continue;
                }
                None => reason,
            },
        };
        return Err(Error::Lookup { what: what(), reason });
    }
}

fn parse(url: &str) -> Result<Url, Failure> {
    // What cannot be parsed cannot be redacted either, so it is not shown.
    Url::parse(url).map_err(|error| Failure::Lasting(format!("the configured URL cannot be used: {error}")))
}

fn from_mirror(
    cx: &Context,
    pin: &Pin<'_>,
    part: &Path,
    client: &Client,
    urls: &[Url],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for url in urls {
        match from_url(cx, pin, part, client, url) {
            Err(Failure::Passing(reason)) => failures.push((true, format!("{}: {reason}", redacted(url)))),
            Err(Failure::Lasting(reason)) => failures.push((false, format!("{}: {reason}", redacted(url)))),
            done => return done,
        }
    }
    let passing = failures.iter().any(|(passing, _)| *passing);
    let reason = failures.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>().join("; ");
    Err(if passing { Failure::Passing(reason) } else { Failure::Lasting(reason) })
}

/// Downloads from one URL, continuing after each break as long as more arrives.
fn from_url(cx: &Context, pin: &Pin<'_>, part: &Path, client: &Client, url: &Url) -> Result<(), Failure> {
    let length = || fs::metadata(part).map_or(0, |it| it.len());
    let mut furthest = length();
    loop {
        match request(cx, pin, part, client, url) {
            Err(Failure::Passing(_)) if length() > furthest => furthest = length(),
            other => return other,
        }
    }
}

/// Makes one request, for what is missing in `part`, and checks the whole when it is there.
fn request(cx: &Context, pin: &Pin<'_>, part: &Path, client: &Client, url: &Url) -> Result<(), Failure> {
    let mut hasher = Sha256::new();
    let mut file =
        File::options().create(true).read(true).append(true).open(part).map_err(Error::io("open", part))?;
    let mut done = hash_present(&file, &mut hasher).map_err(Error::io("read", part))?;
    if done > 0 && hex(&hasher.clone().finalize()) == pin.sha256 {
        return Ok(());
    }
    let resumed = done > 0;
    let start_over = |file: &File| file.set_len(0).map_err(Error::io("shorten", part));

    let mut request = client.get(url.clone());
    if resumed {
        request = request.header(RANGE, format!("bytes={done}-"));
    }
    let mut response = request.send()?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if resumed && continues_at(&response, done) => {}
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resumed => {
            start_over(&file)?;
            return self::request(cx, pin, part, client, url);
        }
        StatusCode::OK if resumed => {
            start_over(&file)?;
            hasher = Sha256::new();
            done = 0;
        }
        StatusCode::OK => {}
        status => return Err(Failure::from_status(status)),
    }

    let total = response.content_length().map(|rest| done + rest);
    let mut reported = Instant::now();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match response.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Passing(explain_read(error))),
        };
        file.write_all(&buffer[..read]).map_err(Error::io("write", part))?;
        hasher.update(&buffer[..read]);
        done += read as u64;
        if reported.elapsed() >= TIME_BETWEEN_EVENTS {
            (cx.progress)(Event::Bytes { step: format!("download {}", pin.file), done, total });
            reported = Instant::now();
        }
    }
    let digest = hex(&hasher.finalize());
    if digest == pin.sha256 {
        return file.sync_all().map_err(|error| Error::io("write", part)(error).into());
    }
    fs::remove_file(part).map_err(Error::io("remove", part))?;
    if resumed {
        // The fault may be in what was there before.
        return self::request(cx, pin, part, client, url);
    }
    Err(Failure::Lasting(format!("has the wrong SHA-256, {digest} ({done} bytes)")))
}

/// Whether a partial answer begins where `part` ends. See RFC 9110, section 14.4.
fn continues_at(response: &Response, done: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|it| it.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {done}-")))
}

/// Hashes what is in the file and answers how much it is.
fn hash_present(file: &File, hasher: &mut Sha256) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut present = file.take(length);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match present.read(&mut buffer)? {
            0 => return Ok(length),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Whether the file is there with the right hash. A damaged one is removed.
fn is_whole(path: &Path, pin: &Pin<'_>) -> Result<bool> {
    match hash_file(path) {
        Ok(digest) if digest == pin.sha256 => Ok(true),
        Ok(_) => fs::remove_file(path).map_err(Error::io("remove the damaged", path)).map(|()| false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests;
