//! Finding a file on a Python package index.
//!
//! An index answers JSON (PEP 691) or HTML (PEP 503); both are described in
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>.

use reqwest::blocking::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::http::{Failure, redacted};
use super::pin;

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const ACCEPTED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Where `file` of `project` is, according to the index. The URL has the credentials of `index` if it is on
/// the same host.
pub(super) fn find(client: &Client, index: &Url, project: &str, file: &str) -> Result<Url, Failure> {
    let page = page(index, project);
    look_up(client, index, &page, file).map_err(|failure| explain(&page, failure))
}

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct File {
    /// Its name, from which version and platform are read.
    #[serde(rename = "filename")]
    pub(crate) name: String,
    /// Where it is: relative to the page as the index says it, a whole URL in what [`files`] answers.
    url: String,
    #[serde(default)]
    hashes: Hashes,
    /// The versions of Python that it is for.
    pub(crate) requires_python: Option<String>,
    /// When it was uploaded, as RFC 3339 writes it. Not every index says so.
    pub(crate) upload_time: Option<String>,
    /// Whether it was withdrawn: `true`, or a string with the reason.
    #[serde(default)]
    yanked: serde_json::Value,
    /// Whether a wheel's `METADATA` is beside it (PEP 658): `true`, or hashes of that.
    #[serde(default, alias = "dist-info-metadata")]
    core_metadata: serde_json::Value,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

impl File {
    /// A file of which nothing is known but what a lock file says.
    pub(crate) fn known(name: String, sha256: String) -> Self {
        Self {
            name,
            url: String::new(),
            hashes: Hashes { sha256: Some(sha256) },
            requires_python: None,
            upload_time: None,
            yanked: serde_json::Value::Null,
            core_metadata: serde_json::Value::Null,
        }
    }

    /// Its SHA-256, where the index has it.
    pub(crate) fn sha256(&self) -> Option<&str> {
        self.hashes.sha256.as_deref()
    }

    /// Whether the index has the `METADATA` of a wheel beside it.
    pub(crate) fn has_metadata(&self) -> bool {
        self.metadata().is_some()
    }

    /// Where the `METADATA` of a wheel is, with its SHA-256 where the index has that. `None` when it is only in the wheel.
    pub(super) fn metadata(&self) -> Option<(Url, Option<&str>)> {
        if matches!(self.core_metadata, serde_json::Value::Null | serde_json::Value::Bool(false)) {
            return None;
        }
        let mut url = Url::parse(&self.url).ok()?;
        url.set_fragment(None);
        url.set_path(&format!("{}.metadata", url.path()));
        Some((url, self.core_metadata.get("sha256").and_then(serde_json::Value::as_str)))
    }

    /// Whether it was withdrawn.
    pub(crate) fn is_yanked(&self) -> bool {
        !matches!(self.yanked, serde_json::Value::Null | serde_json::Value::Bool(false))
    }
}

/// All files of a project, as the index that this machine uses lists them. None, when it does not know the project.
pub(super) fn files(client: &Client, index: &Url, project: &str) -> Result<Vec<File>, Failure> {
    let page = page(index, project);
    let (base, files) = read(client, &page).map_err(|failure| explain(&page, failure))?;
    let whole = |file: File| {
        // A file with another hash than a SHA-256 is one without.
        let sha256 = file.hashes.sha256.map(|it| it.to_ascii_lowercase()).filter(|it| pin::is_sha256(it));
        let url = resolve(index, &base, &file.url).ok()?.into();
        pin::is_file_name(&file.name).then_some(File { url, hashes: Hashes { sha256 }, ..file })
    };
    Ok(files.into_iter().filter_map(whole).collect())
}

fn page(index: &Url, project: &str) -> Url {
    let mut page = index.clone();
    page.set_query(None);
    page.set_fragment(None);
    if let Ok(mut path) = page.path_segments_mut() {
        path.pop_if_empty().push(project).push("");
    }
    page
}

fn explain(page: &Url, failure: Failure) -> Failure {
    let explained = |reason| format!("the package index page {}: {reason}", redacted(page));
    match failure {
        Failure::Passing(reason) => Failure::Passing(explained(reason)),
        Failure::Lasting(reason) => Failure::Lasting(explained(reason)),
        machine @ Failure::Machine(_) => machine,
    }
}

fn look_up(client: &Client, index: &Url, page: &Url, file: &str) -> Result<Url, Failure> {
    let (base, files) = read(client, page)?;
    let found = files.into_iter().find(|it| it.name == file);
    let found = found.ok_or_else(|| Failure::Lasting(format!("does not have {file}")))?;
    resolve(index, &base, &found.url).map_err(|error| unreadable(&error))
}

/// A URL that a page names, with the credentials of the index if it is on the same host.
fn resolve(index: &Url, base: &Url, reference: &str) -> Result<Url, impl std::fmt::Display + use<>> {
    let mut url = base.join(reference)?;
    if url.username().is_empty() && url.origin() == index.origin() {
        let _ = url.set_username(index.username());
        let _ = url.set_password(index.password());
    }
    Ok::<_, <Url as std::str::FromStr>::Err>(url)
}

/// The files on a page, and the URL to which theirs are relative.
fn read(client: &Client, page: &Url) -> Result<(Url, Vec<File>), Failure> {
    let response = client.get(page.clone()).header(ACCEPT, ACCEPTED).send()?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok((page.clone(), Vec::new()));
    }
    if !response.status().is_success() {
        return Err(Failure::from_status(response.status()));
    }
    // What the page names is relative to where it really was.
    let base = response.url().clone();
    let header = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_json = header.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case(JSON));
    let text = response.text()?;
    let files = if is_json { in_json(&text).map_err(|error| unreadable(&error))? } else { in_html(&text) };
    Ok((base, files))
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::Lasting(format!("cannot be read: {error}"))
}

fn in_json(text: &str) -> serde_json::Result<Vec<File>> {
    #[derive(Deserialize)]
    struct Project {
        files: Vec<File>,
    }
    serde_json::from_str::<Project>(text).map(|project| project.files)
}

/// Anchors are all that the format uses of HTML. An anchor's text is the file's name.
fn in_html(text: &str) -> Vec<File> {
    let file = |anchor: &str| {
        let (attributes, rest) = split_tag(anchor)?;
        let (name, _) = rest.split_once('<')?;
        let url = unescape(attribute(attributes, "href")?);
        let fragment = url.split_once('#').map(|(_, fragment)| fragment).unwrap_or_default();
        let sha256 = fragment.split('&').find_map(|it| it.strip_prefix("sha256=")).map(str::to_owned);
        let metadata = attribute(attributes, "data-core-metadata")
            .or_else(|| attribute(attributes, "data-dist-info-metadata"));
        Some(File {
            name: unescape(name.trim()),
            url,
            hashes: Hashes { sha256 },
            requires_python: attribute(attributes, "data-requires-python").map(unescape),
            upload_time: None,
            yanked: attributes.contains("data-yanked").into(),
            core_metadata: match metadata.map(|it| it.split_once("sha256=")) {
                Some(Some((_, digest))) => serde_json::json!({ "sha256": digest }),
                Some(None) => metadata.is_some_and(|it| it != "false").into(),
                None => serde_json::Value::Null,
            },
        })
    };
    text.split("<a").skip(1).filter_map(file).collect()
}

/// Splits at the `>` that ends a tag; one within quotes does not.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            None if c == '>' => return Some((&text[..at], &text[at + 1..])),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        let (value, next) = after[1..].split_once(quote)?;
        // A key may follow attributes without a value.
        if key.split_whitespace().next_back().is_some_and(|it| it.eq_ignore_ascii_case(name)) {
            return Some(value);
        }
        rest = next;
    }
}

/// Resolves the character references that occur in URLs and file names.
fn unescape(text: &str) -> String {
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&#43;", "+"),
        ("&amp;", "&"),
    ];
    named.iter().fold(text.to_owned(), |text, (reference, character)| text.replace(reference, character))
}

#[cfg(test)]
mod tests {
    use super::super::{http, test_server};
    use super::*;
    use std::time::Duration;

    const FILE: &str = "pkg-1.0-py3-none-any.whl";

    fn find_in(content_type: &str, page: &str, user: &str) -> (Result<Url, String>, String, u16) {
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        let server = test_server::serve(move |_, _| test_server::Reply::Close(reply.clone().into_bytes()));
        let client = http::builder(Duration::from_secs(10)).no_proxy().build().unwrap();
        let index = Url::parse(&format!("http://{user}127.0.0.1:{}/root/simple", server.port())).unwrap();
        let result = find(&client, &index, "pkg", FILE).map_err(|failure| match failure {
            Failure::Lasting(reason) => reason,
            Failure::Passing(reason) => panic!("{reason}"),
            Failure::Machine(error) => panic!("{error}"),
        });
        (result, server.requests().concat(), server.port())
    }

    #[test]
    fn json_and_html_answers() {
        let json = r#"{"files": [{"filename": "pkg-0.9.whl", "url": "x", "hashes": {}},
                       {"filename": "pkg-1.0-py3-none-any.whl", "url": "../../files/a.whl", "hashes": {}}]}"#;
        let html = r#"<!DOCTYPE html><title>Links</title><a href="pkg-0.9.whl">pkg-0.9.whl</a><br/>
            <a data-requires-python="&gt;=3.8, >3" data-yanked
               href='../../files/a.whl?a=1&amp;b=2#sha256=00'>pkg-1.0-py3-none-any.whl</a>"#;
        for (content_type, page, reference) in [
            ("application/vnd.pypi.simple.v1+json", json, "files/a.whl"),
            ("text/html; charset=UTF-8", html, "files/a.whl?a=1&b=2#sha256=00"),
            ("application/vnd.pypi.simple.v1+html", html, "files/a.whl?a=1&b=2#sha256=00"),
        ] {
            let (found, requests, port) = find_in(content_type, page, "");
            // The page is /root/simple/pkg/, so two levels up is /root/.
            assert_eq!(
                found.unwrap().as_str(),
                format!("http://127.0.0.1:{port}/root/{reference}"),
                "{content_type}"
            );
            assert!(requests.starts_with("GET /root/simple/pkg/ HTTP/1.1"), "{requests}");
            assert!(requests.contains("application/vnd.pypi.simple.v1+json"), "{requests}");
        }
    }

    #[test]
    fn both_formats_say_the_same() {
        let json = r#"{"meta": {"api-version": "1.1"}, "name": "pkg", "files": [
            {"filename": "a-1.tar.gz", "url": "a-1.tar.gz", "hashes": {}, "yanked": "broken"},
            {"filename": "a-2-py3-none-any.whl", "url": "/f/a.whl#x", "hashes": {"md5": "x", "sha256": "ZERO"},
             "yanked": false, "requires-python": ">=3.8", "core-metadata": {"sha256": "11"}, "size": 5},
            {"filename": "../a-3-py3-none-any.whl", "url": "x.whl", "hashes": {"sha256": "TWO"}},
            {"filename": "a-3-py3-none-any.whl", "url": "b.whl", "hashes": {"sha256": "TWO"}, "dist-info-metadata": true},
            {"filename": "a-4-py3-none-any.whl", "url": "c.whl", "hashes": {"sha256": "/etc/passwd"}}]}"#;
        let html = r#"<a data-yanked="broken" href="a-1.tar.gz">a-1.tar.gz</a>
            <a href="/f/a.whl#sha256=ZERO" data-requires-python="&gt;=3.8" data-core-metadata="sha256=11">a-2-py3-none-any.whl</a>
            <a href="x.whl#sha256=TWO">../a-3-py3-none-any.whl</a>
            <a href="b.whl#egg=a&amp;sha256=TWO&amp;x" data-dist-info-metadata="true">a-3-py3-none-any.whl</a>
            <a href="c.whl#sha256=/etc/passwd">a-4-py3-none-any.whl</a>"#;
        let (zero, two) = ("0a".repeat(32), "2".repeat(64));
        for (content_type, page) in [(JSON, json), ("text/html", html)] {
            let page = page.replace("ZERO", &zero.to_uppercase()).replace("TWO", &two);
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
            let server =
                test_server::serve(move |_, _| test_server::Reply::Close(reply.clone().into_bytes()));
            let client = http::builder(Duration::from_secs(10)).no_proxy().build().unwrap();
            let root = format!("http://127.0.0.1:{}", server.port());
            let found = files(&client, &Url::parse(&format!("{root}/simple")).unwrap(), "pkg").ok().unwrap();
            let summary: Vec<_> = found
                .iter()
                .map(|it| {
                    let metadata =
                        it.metadata().map(|(url, hash)| (url.to_string().replace(&root, ""), hash));
                    (it.name.as_str(), it.sha256(), it.requires_python.as_deref(), it.is_yanked(), metadata)
                })
                .collect();
            let expected = [
                ("a-1.tar.gz", None, None, true, None),
                (
                    "a-2-py3-none-any.whl",
                    Some(zero.as_str()),
                    Some(">=3.8"),
                    false,
                    Some(("/f/a.whl.metadata".to_owned(), Some("11"))),
                ),
                (
                    "a-3-py3-none-any.whl",
                    Some(two.as_str()),
                    None,
                    false,
                    Some(("/simple/pkg/b.whl.metadata".to_owned(), None)),
                ),
                ("a-4-py3-none-any.whl", None, None, false, None),
            ];
            assert_eq!(summary, expected, "{content_type}");
        }
    }

    #[test]
    fn an_unknown_project_has_no_files() {
        let reply = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let server = test_server::serve(move |_, _| test_server::Reply::Close(reply.as_bytes().to_vec()));
        let client = http::builder(Duration::from_secs(10)).no_proxy().build().unwrap();
        let index = Url::parse(&format!("http://127.0.0.1:{}/simple", server.port())).unwrap();
        assert_eq!(files(&client, &index, "pkg").ok().unwrap(), []);
    }

    #[test]
    fn credentials_are_used_and_not_shown() {
        let page = format!("<a href=\"/files/a.whl\">{FILE}</a>");
        let (found, requests, port) = find_in("text/html", &page, "user:secret@");
        assert_eq!(found.unwrap().as_str(), format!("http://user:secret@127.0.0.1:{port}/files/a.whl"));
        assert!(requests.to_lowercase().contains("authorization: basic dxnlcjpzzwnyzxq="), "{requests}");

        let elsewhere = format!("<a href=\"https://files.example/a.whl\">{FILE}</a>");
        let (found, _, _) = find_in("text/html", &elsewhere, "user:secret@");
        assert_eq!(found.unwrap().as_str(), "https://files.example/a.whl");

        let (missing, _, _) = find_in("text/html", "<a href=x>y</a><a href", "user:secret@");
        let error = missing.unwrap_err();
        assert!(
            error.contains("/root/simple/pkg/") && error.contains(FILE) && !error.contains("secret"),
            "{error}"
        );
    }
}
