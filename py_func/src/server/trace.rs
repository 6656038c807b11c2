//! Which trace a request belongs to: W3C Trace Context.

use std::fmt::{Display, Write as _};

use axum::http::HeaderMap;
use tracing::Span;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The trace: 32 hexadecimal digits.
    pub(super) trace: String,
    /// The span in it: 16 hexadecimal digits.
    pub(super) span: String,
    /// Whether somebody records it, as far as is known.
    pub(super) sampled: bool,
}

impl Context {
    /// As a header has it.
    pub(super) fn header(&self) -> String {
        let Self { trace, span, sampled } = self;
        format!("00-{trace}-{span}-0{}", u8::from(*sampled))
    }
}

/// What a client says that its request belongs to.
pub(super) fn given(headers: &HeaderMap) -> Option<Context> {
    let mut values = headers.get_all("traceparent").iter();
    // Of several none counts.
    let only = values.next().filter(|_| values.next().is_none())?;
    only.to_str().ok().and_then(parse)
}

/// Makes the span of a request a part of the trace that was given, or of a new one, and answers its place there. `name` is what collectors
/// know it by.
pub(super) fn begin(span: &Span, given: Option<Context>, name: &dyn Display) -> Context {
    #[cfg(feature = "otlp")]
    if let Some(recorded) = super::otlp::begin(span, given.as_ref(), name) {
        return recorded;
    }
    // Nobody records it, so nobody else has given it numbers.
    let _ = (span, name);
    let mut random = [0; 24];
    // Without randomness they are zero, which the standard wants to be taken for none.
    let _ = getrandom::fill(&mut random);
    let digits = random.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let (trace, span) = digits.split_at(32);
    let (trace, sampled) = given.map_or((trace.to_owned(), false), |given| (given.trace, given.sampled));
    Context { trace, span: span.to_owned(), sampled }
}

/// What the header `traceparent` says: version, trace, parent and flags, in lower-case hexadecimal.
fn parse(value: &str) -> Option<Context> {
    let mut parts = value.split('-');
    let hexadecimal = |part: &&str, length: usize| {
        part.len() == length && part.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &&str| part.bytes().all(|it| it == b'0');
    let version = parts.next().filter(|it| hexadecimal(it, 2) && *it != "ff")?;
    let trace = parts.next().filter(|it| hexadecimal(it, 32) && !zero(it))?;
    let span = parts.next().filter(|it| hexadecimal(it, 16) && !zero(it))?;
    let flags = parts.next().filter(|it| hexadecimal(it, 2))?;
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    // Later versions may have more parts.
    let whole = version != "00" || parts.next().is_none();
    whole.then(|| Context { trace: trace.to_owned(), span: span.to_owned(), sampled })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn traces_that_are_given() {
        for (value, good) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-more"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-more"), false),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), false),
            (format!("00-{TRACE}-0000000000000000-01"), false),
            (format!("00-{TRACE}"), false),
            (String::new(), false),
        ] {
            assert_eq!(parse(&value).map(|it| it.trace), good.then(|| TRACE.to_owned()), "{value}");
        }
    }

    #[test]
    fn answers_name_the_trace_and_another_span() {
        let mut headers = HeaderMap::new();
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-03");
        headers.append("traceparent", parent.parse().unwrap());
        let answered = begin(&Span::none(), given(&headers), &"").header();
        let again = parse(&answered).unwrap();
        assert_eq!((again.trace.as_str(), again.sampled), (TRACE, true), "{answered}");
        assert_ne!(again.span, "00f067aa0ba902b7");
        let new = parse(&begin(&Span::none(), None, &"").header()).unwrap();
        assert!(new.trace != TRACE && !new.sampled);
        headers.append("traceparent", parent.parse().unwrap());
        assert_eq!(given(&headers), None);
    }
}
