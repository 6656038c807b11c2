//! Who may do what: tokens, users, origins, and how often.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::problem::Problem;
use super::settings::Access;
use super::tokens::Users;

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// On whose behalf a request is made.
#[derive(Clone)]
pub(super) struct Principal(Users);

impl Principal {
    /// Fails if what belongs to this user is none of the client's business.
    pub(super) fn check(&self, user: &str) -> Result<(), Problem> {
        if self.may_see(user) {
            return Ok(());
        }
        let detail = format!("the token is not for the user {user:?}");
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }

    /// Fails unless the client may do what concerns all users.
    pub(super) fn check_all(&self) -> Result<(), Problem> {
        if self.0 == Users::All {
            return Ok(());
        }
        let detail = "this takes a token that is for all users";
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }

    pub(super) fn may_see(&self, user: &str) -> bool {
        self.0.contains(user)
    }
}

/// Lets a request through that may be made.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let (principal, client) = identify(&app.access, request.headers(), peer)?;
    if let Some(rates) = &app.rates {
        rates.check(client)?;
    }
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

fn identify(
    access: &Access,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<(Principal, Client), Problem> {
    let Access::Tokens(tokens) = access else {
        // Without tokens, a web page that the user happens to look at could make requests in the user's place.
        check_origin(headers)?;
        if matches!(access, Access::Loopback) {
            check_host(headers)?;
        }
        return Ok((Principal(Users::All), Client::Address(peer.map(network))));
    };
    let value = headers.get(header::AUTHORIZATION);
    let value = value.ok_or_else(|| Problem::unauthorized("a token is needed"))?;
    let token = value.to_str().ok().and_then(|it| it.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let found = token.and_then(|token| tokens.check(token));
    let (number, users) = found.ok_or_else(|| Problem::unauthorized("the token is not known"))?;
    Ok((Principal(users), Client::Token(number)))
}

/// Refuses requests of web pages from elsewhere.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let from = origin.to_str().ok().and_then(|it| it.split_once("://")).map(|(_, host)| host);
    if from.is_some() && from == host(headers) {
        return Ok(());
    }
    let detail = format!("web pages of {} may not use this server", shown(origin));
    Err(Problem::new(StatusCode::FORBIDDEN, "origin", detail))
}

/// Refuses requests for a name that somebody has made point here, so that a page of that name could read the answers.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    if is_local(headers) {
        return Ok(());
    }
    let host = host(headers).ok_or_else(|| Problem::bad_request("host", "the header Host is missing"))?;
    let detail = format!("the server has no tokens set up and answers to localhost only, not to {host:?}");
    Err(Problem::new(StatusCode::FORBIDDEN, "host", detail))
}

/// Whether a request is for a name that nobody can make point elsewhere.
pub(super) fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = host(headers) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    // Without brackets nobody could say where an address ends and its port begins.
    let is_address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    };
    name == "localhost" || name.ends_with(".localhost") || is_address
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|it| it.to_str().ok())
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Who counts as one when requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Token(usize),
    Address(Option<IpAddr>),
}

/// The part of an address that its holder cannot choose: of version 6, the first half.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// How many requests clients may still make: a bucket for each that fills at a steady rate.
pub(super) struct Rates {
    per_second: f64,
    buckets: Mutex<HashMap<Client, Bucket>>,
}

struct Bucket {
    tokens: f64,
    updated: Instant,
}

/// Above so many clients those are forgotten whose bucket is full again.
const CLIENTS: usize = 10_000;

impl Rates {
    pub(super) fn new(per_second: NonZero<u32>) -> Self {
        Self { per_second: f64::from(per_second.get()), buckets: Mutex::default() }
    }

    fn check(&self, client: Client) -> Result<(), Problem> {
        self.check_at(client, Instant::now())
    }

    fn check_at(&self, client: Client, now: Instant) -> Result<(), Problem> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| {
            let gained = now.saturating_duration_since(bucket.updated).as_secs_f64() * self.per_second;
            (bucket.tokens + gained).min(self.per_second)
        };
        if buckets.len() > CLIENTS {
            buckets.retain(|_, bucket| filled(bucket) < self.per_second);
        }
        let bucket = buckets.entry(client).or_insert(Bucket { tokens: self.per_second, updated: now });
        (bucket.tokens, bucket.updated) = (filled(bucket), now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let detail = format!("at most {} requests a second are allowed", self.per_second);
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate", detail).retry_after(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (header::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (host, origin, good) in [
            ("localhost:8080", None, true),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), true),
            ("[::1]:8080", Some("http://[::1]:8080"), true),
            ("a.localhost", None, true),
            ("[::1]", None, true),
            ("127.0.0.1:80", None, true),
            // Found by the fuzz target `host`.
            ("EE:EEE:E:E:EE:E:E:E:", None, false),
            ("[127.0.0.1]", None, false),
            ("localhost:8080", Some("http://localhost:8081"), false),
            ("localhost:8080", Some("https://example.org"), false),
            ("localhost:8080", Some("null"), false),
            ("example.org:8080", None, false),
            ("example.org:8080", Some("http://example.org:8080"), false),
            ("localhost.example.org", None, false),
            ("", None, false),
        ] {
            let mut pairs = Vec::from_iter((!host.is_empty()).then_some(("host", host)));
            pairs.extend(origin.map(|origin| ("origin", origin)));
            let result = identify(&Access::Loopback, &headers(&pairs), None);
            assert_eq!(result.is_ok(), good, "{host} {origin:?}");
        }
    }

    #[test]
    fn addresses_of_one_client_count_as_one() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::2:3:4:5", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other] = [one, other].map(|it| network(it.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }

    #[test]
    fn clients_get_as_many_requests_as_they_may_make() {
        let rates = Rates::new(NonZero::new(2).unwrap());
        let start = Instant::now();
        let (one, other) = (Client::Token(0), Client::Token(1));
        for (client, milliseconds, good) in [
            (one, 0, true),
            (one, 0, true),
            (one, 100, false),
            (other, 100, true),
            (one, 500, true),
            (one, 600, false),
            (one, 60_000, true),
            (one, 60_000, true),
            (one, 60_000, false),
        ] {
            let now = start + Duration::from_millis(milliseconds);
            assert_eq!(rates.check_at(client, now).is_ok(), good, "{client:?} {milliseconds}");
        }
    }
}
