//! What must be true of everything that reads what clients write, whatever they write. These functions panic when it is not. Tests give
//! them examples that were changed at random, fuzz targets what leads to new places in the code.

use std::path::{Component, Path};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::extract::{Query, flag, parsed, seconds};
use super::routes::{Message, clean_path};
use super::{access, range as ranges, tokens as files, trace, wire};
use crate::function::is_valid_name;
use crate::package;

/// The header `Range`.
pub fn range(bytes: &[u8]) {
    // What can be no header never gets to a parser.
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    for size in [0, 1, 10, u64::MAX] {
        match ranges::requested(Some(&value), size) {
            Ok(None) => (),
            Ok(Some(part)) => assert!(part.start < part.end && part.end <= size, "{value:?} {part:?}"),
            Err(problem) => assert!([400, 416].contains(&problem.status().as_u16()), "{value:?}"),
        }
    }
}

/// The header `Content-Range`.
pub fn content_range(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    match ranges::written(Some(&value)) {
        Ok(Some(part)) => {
            let end = part.start.checked_add(part.length);
            let fits = end.is_some_and(|end| part.total.is_none_or(|total| end <= total));
            assert!(part.length > 0 && fits, "{value:?} {part:?}");
        }
        Ok(None) => panic!("{value:?} is there"),
        Err(problem) => assert_eq!(problem.status(), 400, "{value:?}"),
    }
}

/// The header `traceparent`.
pub fn traceparent(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(header::HeaderName::from_static("traceparent"), value.clone())]);
    if let Some(context) = trace::given(&headers) {
        // What was understood is what was said.
        assert_eq!(context.header().as_bytes().get(2..53), value.as_bytes().get(2..53));
    }
}

/// The header `Host`.
pub fn host(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(header::HOST, value.clone())]);
    if access::is_local(&headers) {
        let host = String::from_utf8_lossy(value.as_bytes());
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        let numbers =
            name.split('.').count() == 4 && name.bytes().all(|it| it == b'.' || it.is_ascii_digit());
        let localhost = [name, &*host].iter().any(|it| it.ends_with("localhost"));
        assert!(localhost || numbers || host.starts_with('['), "{host}");
    }
}

/// Files of tokens.
pub fn tokens(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // It says which users there are only if all names can be names.
    if let Ok(users) = files::users(&text) {
        assert!(users.iter().all(|name| is_valid_name(name)), "{text:?}");
    }
}

/// Messages as the original Faasm has them.
pub fn message(bytes: &[u8]) {
    let message: Result<Message, _> = serde_json::from_slice(bytes);
    assert!(message.is_err() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok());
}

/// Results of calls, which clients read.
pub fn result(bytes: &[u8]) {
    if let Ok(result) = serde_json::from_slice::<wire::CallResult>(bytes) {
        // A client makes of it what it can.
        let _ = result.into_result();
    }
}

/// The part of an address after the question mark.
pub fn query(bytes: &[u8]) {
    #[derive(Deserialize)]
    struct All {
        #[serde(default, deserialize_with = "flag")]
        flag: bool,
        #[serde(default, deserialize_with = "parsed")]
        number: Option<u64>,
        #[serde(default, deserialize_with = "seconds")]
        seconds: Option<Duration>,
    }
    let text = String::from_utf8_lossy(bytes);
    let Ok(uri) = Uri::try_from(format!("/?{text}")) else { return };
    if let Ok(Query(all)) = Query::<All>::of(&uri) {
        // Letters may be written as numbers.
        let said = |name: &str| text.contains(name) || text.contains('%');
        assert!(!all.flag || said("flag"), "{text}");
        assert!(all.number.is_none() || said("number"), "{text}");
        assert!(all.seconds.is_none_or(|it| it.as_secs() <= 3_000_000_000), "{text}");
    }
}

/// Names of users and functions.
pub fn name(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    if is_valid_name(&name) {
        let mut parts = Path::new(&*name).components();
        assert!(matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)), "{name:?}");
        assert!(name.len() <= 64 && !name.starts_with('.') && name.is_ascii(), "{name:?}");
    }
}

/// Paths of shared files.
pub fn path(bytes: &[u8]) {
    if let Ok(path) = clean_path(&String::from_utf8_lossy(bytes)) {
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert!(path.components().count() > 0 && path.as_os_str().len() <= 1024, "{path:?}");
    }
}

/// Archives of functions that are packages.
pub fn archive(bytes: &[u8]) {
    if package::archive_kind(bytes).is_some()
        && let Ok(package) = package::open(bytes, "f")
    {
        assert!(package.module == "main" || is_valid_name(&package.module), "{}", package.module);
    }
}
