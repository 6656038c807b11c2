//! A server in place of the store.

use std::time::Duration;

use anyhow::Context as _;
use py_func::server::{CallResult, ProblemDocument, RESULT_JSON};
use py_func::{CallFailure, Output};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::cli;
use crate::error::{Exit, Failure, input};

/// How long a server may take to be reached. What it does then may take any time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that was named.
pub(crate) struct Remote {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Remote {
    /// The server of the command line, if it names one.
    pub(crate) fn named(arguments: &cli::Remote) -> anyhow::Result<Option<Self>> {
        let cli::Remote { url: Some(text), token } = arguments else { return Ok(None) };
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| {
            input(format!("`{text}` is not the address of a server"))
                .hint("it looks like http://localhost:8080")
        })?;
        // reqwest is compiled without a provider of its own. That there is one already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(None).build();
        let client = client.context("failed to set up HTTP")?;
        Ok(Some(Self { client, url, token: token.clone() }))
    }

    /// The server of the command line, which must name one.
    pub(crate) fn required(arguments: &cli::Remote) -> anyhow::Result<Self> {
        let missing = || input("there is no server to ask").hint("name it with --url or FAASM_URL");
        Ok(Self::named(arguments)?.ok_or_else(missing)?)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A request for what has these words as its path.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> anyhow::Result<RequestBuilder> {
        self.request_with(method, path, &[])
    }

    /// The same, with parameters.
    pub(crate) fn request_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<RequestBuilder> {
        // Addresses cannot have these as parts of their path, and no user or function can be called so.
        if let Some(name) = path.iter().find(|word| ["", ".", ".."].contains(*word)) {
            return Err(py_func::Error::Name { name: (*name).to_owned() }.into());
        }
        let mut url = self.url.clone();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // Only URLs without a host have no path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Sends a request, and makes an error of an answer that is one.
    pub(crate) fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = self.try_send(request)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response)) }
    }

    /// Sends a request whose answer is JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        self.parse(self.send(request)?)
    }

    /// Sends a request that makes a call, or loads a function. The answer of which the inner error is one is a call that failed.
    pub(crate) fn call(&self, request: RequestBuilder) -> anyhow::Result<Result<Response, CallFailure>> {
        let response = self.try_send(request.header(ACCEPT, RESULT_JSON))?;
        let is_result = response.headers().get(CONTENT_TYPE).is_some_and(|kind| *kind == RESULT_JSON);
        if response.status().is_success() {
            return Ok(Ok(response));
        }
        if !is_result {
            return Err(refusal(response));
        }
        match self.result(response)? {
            Err(failure) => Ok(Err(failure)),
            Ok(_) => Err(self.nonsense("it returned, and the answer says that it failed")),
        }
    }

    /// The result that an answer is.
    pub(crate) fn result(&self, response: Response) -> anyhow::Result<Result<Output, CallFailure>> {
        Ok(self.parse::<CallResult>(response)?.into_result())
    }

    /// The JSON that an answer is.
    pub(crate) fn parse<T: DeserializeOwned>(&self, response: Response) -> anyhow::Result<T> {
        let body = response.bytes().map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.nonsense(&error.to_string()))
    }

    fn try_send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        request.send().map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
        let reason = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
        let message = format!("failed to reach the server {}: {reason}", self.url);
        Failure::new(Exit::Environment, message).hint("`cargo faasm serve` starts one").into()
    }

    fn nonsense(&self, reason: &str) -> anyhow::Error {
        let message = format!("failed to understand the answer of {}: {reason}", self.url);
        Failure::new(Exit::Environment, message).hint("is that a server of this version?").into()
    }
}

/// What a server says is wrong.
fn refusal(response: Response) -> anyhow::Error {
    let status = response.status();
    let exit = match status {
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::INSUFFICIENT_STORAGE => Exit::Limit,
        status if status.is_client_error() => Exit::Input,
        _ => Exit::Environment,
    };
    let problem =
        response.bytes().ok().and_then(|body| serde_json::from_slice::<ProblemDocument>(&body).ok());
    let Some(problem) = problem else {
        return Failure::new(Exit::Environment, format!("the server answers {status}")).into();
    };
    let failure = Failure::new(exit, problem.detail);
    match (status, problem.hint) {
        (StatusCode::UNAUTHORIZED, _) => failure.hint("name a token with --token or FAASM_TOKEN").into(),
        (_, Some(hint)) => failure.hint(hint).into(),
        (_, None) => failure.into(),
    }
}
