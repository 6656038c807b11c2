use std::sync::{Arc, Mutex};

use super::super::http;
use super::super::test_server::{Reply, Server, serve};
use super::*;
use crate::cache::Cache;

/// What the servers have: long enough to arrive in several pieces.
fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

struct Fixture {
    _directory: tempfile::TempDir,
    cx: Context,
    pin: Pin<'static>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let seen = Arc::clone(&events);
        let cx = Context {
            cache: Cache::new(directory.path().join("root")),
            offline: false,
            jobs: 1,
            progress: Arc::new(move |event| seen.lock().unwrap().push(event)),
        };
        let sha256: &'static str = hex(&Sha256::digest(content())).leak();
        let pin = Pin { name: "file", version: "1", file: "file-1.tar.gz", sha256, mirrors: &[] };
        Self { _directory: directory, cx, pin, events }
    }

    /// Fetches from these servers, in this order.
    fn fetch(&mut self, servers: &[&Server]) -> Result<PathBuf> {
        let urls: Vec<String> = servers
            .iter()
            .map(|it| format!("http://user:secret@127.0.0.1:{}/file?token=secret", it.port()))
            .collect();
        self.fetch_urls(&urls)
    }

    fn fetch_urls(&mut self, urls: &[String]) -> Result<PathBuf> {
        let mirrors: Vec<Mirror<'static>> = urls.iter().map(|it| Mirror::Url(it.clone().leak())).collect();
        self.pin.mirrors = mirrors.leak();
        let client = http::builder(Duration::from_millis(500)).no_proxy().build().unwrap();
        fetch_with(&self.cx, &self.pin, &[Duration::ZERO; 2], |mirror| {
            let Mirror::Url(url) = mirror else { panic!("{mirror:?}") };
            Ok((client.clone(), vec![Url::parse(url).unwrap()]))
        })
    }

    fn part(&self) -> PathBuf {
        self.cx.cache.root().join(format!("downloads/{}-{}.part", self.pin.sha256, self.pin.file))
    }

    fn write_part(&self, bytes: &[u8]) {
        fs::create_dir_all(self.part().parent().unwrap()).unwrap();
        fs::write(self.part(), bytes).unwrap();
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn whole() -> Vec<u8> {
    response("200 OK", "", &content())
}

/// The end of the content from where the request asks for it.
fn rest(request: &str) -> Vec<u8> {
    let (_, range) =
        request.to_lowercase().leak().split_once("range: bytes=").expect("a request for a range");
    let start: usize = range.split('-').next().unwrap().parse().unwrap();
    let length = content().len();
    let headers = format!("Content-Range: bytes {start}-{}/{length}\r\n", length - 1);
    response("206 Partial Content", &headers, &content()[start..])
}

/// The first `length` bytes of the response, and then the connection ends.
fn cut(mut response: Vec<u8>, length: usize) -> Reply {
    response.truncate(length);
    Reply::Close(response)
}

fn good() -> Server {
    serve(|_, _| Reply::Close(whole()))
}

fn failing(status: &'static str) -> Server {
    serve(move |_, _| Reply::Close(response(status, "", b"no")))
}

#[track_caller]
fn assert_is_content(path: Result<PathBuf>) {
    assert!(fs::read(path.unwrap()).unwrap() == content());
}

#[test]
fn a_file_is_downloaded_once() {
    let mut fixture = Fixture::new();
    let server = good();
    assert_is_content(fixture.fetch(&[&server]));
    assert_is_content(fixture.fetch(&[&server]));
    fixture.cx.offline = true;
    assert_is_content(fixture.fetch(&[&server]));
    assert_eq!(server.requests().len(), 1);
    assert!(!fixture.part().exists());
    let events = fixture.events.lock().unwrap();
    assert!(matches!(events.first(), Some(Event::Started { .. })), "{events:?}");
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "{events:?}");
}

#[test]
fn a_broken_download_is_continued() {
    let mut fixture = Fixture::new();
    let server = serve(|request, number| match number {
        0 => cut(whole(), 300_000),
        1 => cut(rest(request), 300_000),
        // What has arrived is more than before, so this is not yet another round.
        _ => Reply::Close(rest(request)),
    });
    assert_is_content(fixture.fetch(&[&server]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_download_of_a_killed_build_is_continued() {
    let mut fixture = Fixture::new();
    fixture.write_part(&content()[..1000]);
    let server = serve(|request, _| Reply::Close(rest(request)));
    assert_is_content(fixture.fetch(&[&server]));
    assert!(server.requests()[0].to_lowercase().contains("range: bytes=1000-"));
}

#[test]
fn what_cannot_be_continued_starts_over() {
    let refusals: [fn(&str) -> Vec<u8>; 3] = [
        // A server without ranges sends everything.
        |_| whole(),
        |_| response("416 Range Not Satisfiable", "", b""),
        |_| response("206 Partial Content", "Content-Range: bytes 5-9/10\r\n", b"wrong"),
    ];
    for refusal in refusals {
        let mut fixture = Fixture::new();
        fixture.write_part(&content()[..1000]);
        let server = serve(move |request, _| {
            Reply::Close(if request.to_lowercase().contains("range:") { refusal(request) } else { whole() })
        });
        assert_is_content(fixture.fetch(&[&server]));
    }
}

#[test]
fn a_damaged_beginning_is_noticed() {
    let mut fixture = Fixture::new();
    fixture.write_part(b"not how it begins");
    let server = serve(|request, number| Reply::Close(if number == 0 { rest(request) } else { whole() }));
    assert_is_content(fixture.fetch(&[&server]));
    assert!(!server.requests()[1].to_lowercase().contains("range:"));
}

#[test]
fn a_stalled_download_is_continued() {
    let mut fixture = Fixture::new();
    let server = serve(|request, number| match number {
        0 => Reply::Stall(whole()[..300_000].to_vec()),
        _ => Reply::Close(rest(request)),
    });
    assert_is_content(fixture.fetch(&[&server]));
}

#[test]
fn an_overloaded_server_is_asked_again() {
    let mut fixture = Fixture::new();
    let server = serve(|_, number| match number {
        0 => Reply::Close(response("503 Service Unavailable", "", b"")),
        1 => Reply::Close(Vec::new()),
        _ => Reply::Close(whole()),
    });
    assert_is_content(fixture.fetch(&[&server]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_wrong_file_is_refused_and_the_next_mirror_asked() {
    let mut fixture = Fixture::new();
    let wrong = serve(|_, _| Reply::Close(response("200 OK", "", b"something else")));
    assert_is_content(fixture.fetch(&[&wrong, &failing("404 Not Found"), &good()]));
    assert_eq!(wrong.requests().len(), 1);
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    let mut fixture = Fixture::new();
    let server = good();
    let path = fixture.fetch(&[&server]).unwrap();
    fs::write(&path, "damaged").unwrap();
    assert_is_content(fixture.fetch(&[&server]));
    fs::write(&path, "damaged").unwrap();
    fixture.cx.offline = true;
    assert!(matches!(fixture.fetch(&[&server]), Err(Error::Offline { .. })));
}

#[test]
fn the_error_names_every_mirror_and_no_credentials() {
    let mut fixture = Fixture::new();
    let wrong = serve(|_, _| Reply::Close(response("200 OK", "", b"something else")));
    let (missing, broken) = (failing("404 Not Found"), failing("500 Internal Server Error"));
    let mut urls: Vec<String> = [&wrong, &missing, &broken]
        .map(|it| format!("http://user:secret@127.0.0.1:{}/file?token=secret", it.port()))
        .to_vec();
    urls.push("http://user:secret@127.0.0.1:1/file".to_owned());
    let error = fixture.fetch_urls(&urls).unwrap_err();
    let Error::Download { mirrors, place, .. } = &error else { panic!("{error:?}") };
    let expected = ["wrong SHA-256", "404", "500", "refused"];
    assert_eq!(mirrors.len(), expected.len());
    for (reason, part) in mirrors.iter().zip(expected) {
        assert!(
            reason.starts_with("http://127.0.0.1:") && reason.to_lowercase().contains(&part.to_lowercase()),
            "{reason}"
        );
    }
    let text = format!("{error:?}");
    assert!(text.contains(&place.display().to_string()) && text.contains(fixture.pin.sha256), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!([&wrong, &missing, &broken].map(|it| it.requests().len()), [1, 1, 3]);
    assert!(!fixture.part().exists() || fs::metadata(fixture.part()).unwrap().len() == 0);
}

#[test]
fn offline_says_which_file_and_where_to_put_it() {
    let mut fixture = Fixture::new();
    fixture.cx.offline = true;
    let server = good();
    let error = fixture.fetch(&[&server]).unwrap_err();
    let Error::Offline { place, .. } = &error else { panic!("{error:?}") };
    let text = format!("{error:?}");
    for part in [fixture.pin.file, fixture.pin.sha256, &place.display().to_string()] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(server.requests().is_empty());
    // What it says works.
    fs::write(place, content()).unwrap();
    assert_is_content(fixture.fetch(&[&server]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_no_other_mirror_is_asked() {
    let mut fixture = Fixture::new();
    fixture.write_part(b"");
    fs::remove_file(fixture.part()).unwrap();
    // Writing to this device always finds the disk full; reading it would never end, hence write-only.
    std::os::unix::fs::symlink("/dev/full", fixture.part()).unwrap();
    let other = good();
    let error = fixture.fetch(&[&good(), &other]).unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("full"));
    assert!(other.requests().is_empty());
}

#[test]
fn nothing_outside_of_the_cache_is_touched() {
    let mut fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("x-file-1.tar.gz");
    fs::write(&victim, "precious").unwrap();
    fixture.pin.sha256 = directory.path().join("x").to_str().unwrap().to_owned().leak();
    let error = fixture.fetch_urls(&[]).unwrap_err();
    assert!(error.to_string().contains("no name and hash"), "{error}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}
