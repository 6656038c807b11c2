//! Finding a file on a Python package index.
//!
//! An index answers JSON (PEP 691) or HTML (PEP 503); both are described in
//! <https://packaging.python.org/en/latest/specifications/simple-repository-api/>.

use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::http::{Failure, redacted};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const ACCEPTED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Where `file` of `project` is, according to the index. The URL has the credentials of `index` if it is on
/// the same host.
pub(super) fn find(client: &Client, index: &Url, project: &str, file: &str) -> Result<Url, Failure> {
    let mut page = index.clone();
    page.set_query(None);
    page.set_fragment(None);
    if let Ok(mut path) = page.path_segments_mut() {
        path.pop_if_empty().push(project).push("");
    }
    look_up(client, index, &page, file).map_err(|failure| {
        let explained = |reason| format!("the package index page {}: {reason}", redacted(&page));
        match failure {
            Failure::Passing(reason) => Failure::Passing(explained(reason)),
            Failure::Lasting(reason) => Failure::Lasting(explained(reason)),
            machine @ Failure::Machine(_) => machine,
        }
    })
}

fn look_up(client: &Client, index: &Url, page: &Url, file: &str) -> Result<Url, Failure> {
    let response = client.get(page.clone()).header(ACCEPT, ACCEPTED).send()?;
    if !response.status().is_success() {
        return Err(Failure::from_status(response.status()));
    }
    // What the page names is relative to where it really was.
    let base = response.url().clone();
    let header = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_json = header.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case(JSON));
    let text = response.text()?;

    let unreadable = |error: &dyn std::fmt::Display| Failure::Lasting(format!("cannot be read: {error}"));
    let reference = if is_json {
        in_json(&text, file).map_err(|error| unreadable(&error))?
    } else {
        in_html(&text, file)
    };
    let reference = reference.ok_or_else(|| Failure::Lasting(format!("does not have {file}")))?;
    let mut url = base.join(&reference).map_err(|error| unreadable(&error))?;
    if url.username().is_empty() && url.origin() == index.origin() {
        let _ = url.set_username(index.username());
        let _ = url.set_password(index.password());
    }
    Ok(url)
}

fn in_json(text: &str, file: &str) -> serde_json::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Project {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        filename: String,
        url: String,
    }
    let project: Project = serde_json::from_str(text)?;
    Ok(project.files.into_iter().find(|it| it.filename == file).map(|it| it.url))
}

/// Anchors are all that the format uses of HTML. An anchor's text is the file's name.
fn in_html(text: &str, file: &str) -> Option<String> {
    text.split("<a").skip(1).find_map(|anchor| {
        let (attributes, rest) = split_tag(anchor)?;
        let (name, _) = rest.split_once('<')?;
        if unescape(name.trim()) != file {
            return None;
        }
        attribute(attributes, "href").map(unescape)
    })
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
