//! Byte ranges: `Range` and `Content-Range` of RFC 9110, section 14.

use std::ops::Range;

use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::problem::Problem;

/// A part that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) length: u64,
    /// The size of the whole; `None` stands for whatever size it has.
    pub(super) total: Option<u64>,
}

/// The beginning of an answer that has something of that size, or the range of it that is asked for, and which bytes these are.
pub(super) fn answer(headers: &HeaderMap, size: u64) -> Result<(StatusCode, HeaderMap, Range<u64>), Problem> {
    let mut answer = HeaderMap::new();
    let (status, bytes) = match requested(headers.get(RANGE), size)? {
        Some(bytes) => {
            answer.insert(CONTENT_RANGE, content_range(&bytes, size));
            (StatusCode::PARTIAL_CONTENT, bytes)
        }
        None => (StatusCode::OK, 0..size),
    };
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    Ok((status, answer, bytes))
}

/// The bytes that `Range` asks for, of something of that size. `None` if it asks for all: without the header, for units other than
/// bytes, and for several ranges, where a server may answer all.
pub(super) fn requested(value: Option<&HeaderValue>, size: u64) -> Result<Option<Range<u64>>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let Ok(text) = value.to_str() else { return Err(unreadable("Range")) };
    let Some((unit, ranges)) = text.split_once('=') else { return Err(unreadable("Range")) };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Ok(None);
    }
    let (first, last) = ranges.trim().split_once('-').ok_or_else(|| unreadable("Range"))?;
    let range = match (first.trim(), last.trim()) {
        ("", "") => return Err(unreadable("Range")),
        ("", count) => size.saturating_sub(number(count, "Range")?)..size,
        (first, "") => number(first, "Range")?..size,
        (first, last) => {
            let (first, last) = (number(first, "Range")?, number(last, "Range")?);
            if last < first {
                return Err(unreadable("Range"));
            }
            first..last.saturating_add(1).min(size)
        }
    };
    if range.start >= range.end {
        let detail = format!("it has {size} bytes and not the range {ranges}");
        let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail);
        return Err(match HeaderValue::from_str(&format!("bytes */{size}")) {
            Ok(value) => problem.header(CONTENT_RANGE, value),
            Err(_) => problem,
        });
    }
    Ok(Some(range))
}

/// What `Content-Range` says of a body.
pub(super) fn written(value: Option<&HeaderValue>) -> Result<Option<Part>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let unreadable = || unreadable("Content-Range");
    let text = value.to_str().map_err(|_| unreadable())?;
    let (unit, rest) = text.trim().split_once(' ').ok_or_else(unreadable)?;
    let (range, total) = rest.trim().split_once('/').ok_or_else(unreadable)?;
    let (first, last) = range.split_once('-').ok_or_else(unreadable)?;
    let (first, last) = (number(first, "Content-Range")?, number(last, "Content-Range")?);
    let total = if total == "*" { None } else { Some(number(total, "Content-Range")?) };
    // No value has a byte after which there can be no other.
    let length = last.checked_add(1).and_then(|end| end.checked_sub(first)).ok_or_else(unreadable)?;
    if length == 0 || !unit.eq_ignore_ascii_case("bytes") || total.is_some_and(|total| last >= total) {
        return Err(unreadable());
    }
    Ok(Some(Part { start: first, length, total }))
}

/// What `Content-Range` says of an answer. The range is not empty.
fn content_range(bytes: &Range<u64>, size: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1));
    // Digits and signs are a valid header.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("bytes */0"))
}

fn number(text: &str, header: &str) -> Result<u64, Problem> {
    // `parse` would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| unreadable(header))
}

fn unreadable(header: &str) -> Problem {
    let example = if header == "Range" { "bytes=0-99" } else { "bytes 0-99/1000" };
    Problem::bad_request("range", format!("the header {header} is not like `{example}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_asked_for() {
        for (text, expected) in [
            ("bytes=0-4", Ok(Some(0..5))),
            ("bytes=5-", Ok(Some(5..10))),
            ("bytes=-3", Ok(Some(7..10))),
            ("bytes=-30", Ok(Some(0..10))),
            ("bytes=9-18446744073709551615", Ok(Some(9..10))),
            ("Bytes = 0-0", Ok(Some(0..1))),
            ("lines=1-2", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=10-", Err(416)),
            ("bytes=-0", Err(416)),
            ("bytes=4-3", Err(400)),
            ("bytes=", Err(400)),
            ("bytes=-", Err(400)),
            ("bytes=+1-2", Err(400)),
            ("bytes=a-b", Err(400)),
            ("bytes=99999999999999999999-", Err(400)),
            ("0-4", Err(400)),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            let found = requested(Some(&value), 10).map_err(|it| it.status().as_u16());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn ranges_that_are_written() {
        let part = |start, length, total| Some(Part { start, length, total });
        for (text, expected) in [
            ("bytes 0-4/10", part(0, 5, Some(10))),
            ("bytes 4-4/*", part(4, 1, None)),
            ("bytes 5-4/10", None),
            ("bytes 0-10/10", None),
            ("bytes */10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 18446744073709551615-18446744073709551615/*", None),
            ("bytes 5-4/*", None),
            ("lines 0-4/10", None),
            ("bytes=0-4/10", None),
            ("", None),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(written(Some(&value)).ok().flatten(), expected, "{text}");
        }
    }
}
