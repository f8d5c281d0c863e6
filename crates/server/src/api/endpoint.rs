//! The paths of a listener. One table registers them and suggests one for a misspelt path.
//!
//! Paths are matched strictly: a doubled slash or one at the end is a 404, because two spellings of one path are two answers
//! in every proxy, cache and access rule before the router. The 404 names the right spelling instead.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, guard,
    http::Method,
    web::{self, ServiceConfig},
};

use super::refuse;
use crate::{app::App, error::ApiError};

/// Longest path that an error repeats.
const MAX_SHOWN: usize = 256;
/// The first segment of OpenAI's paths, which clients take from their base URL.
const VERSION: &str = "v1";

/// What a path takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `GET`, and `HEAD` for its headers alone.
    Get,
    Post,
}

/// One path of a listener.
pub(crate) struct Endpoint {
    takes: Takes,
    /// In actix' notation; a parameter may only be the last segment, and takes the rest of the path.
    path: &'static str,
    route: fn() -> Route,
}

/// The path to suggest for a misspelt one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suggestion {
    /// A path that is served.
    pub(crate) path: String,
    /// What to change.
    pub(crate) advice: &'static str,
}

impl Endpoint {
    /// A path that answers `GET` and `HEAD`.
    pub(crate) const fn get(path: &'static str, route: fn() -> Route) -> Self {
        Self { takes: Takes::Get, path, route }
    }

    /// A path that answers `POST`.
    pub(crate) const fn post(path: &'static str, route: fn() -> Route) -> Self {
        Self { takes: Takes::Post, path, route }
    }

    /// The path as a service, which answers other methods with a 405.
    fn resource(&self) -> Resource {
        let (resource, route) = (web::resource(self.path), (self.route)());
        match self.takes {
            Takes::Get => resource
                .route(route.guard(guard::Any(guard::Get()).or(guard::Head())))
                .default_service(web::to(only_get)),
            Takes::Post => resource.route(route.guard(guard::Post())).default_service(web::to(only_post)),
        }
    }

    /// The segments that are always the same, and whether a parameter follows.
    fn segments(&self) -> (Vec<&'static str>, bool) {
        let all = split(self.path);
        let fixed: Vec<_> = all.iter().copied().filter(|segment| !segment.starts_with('{')).collect();
        let has_parameter = fixed.len() < all.len();
        (fixed, has_parameter)
    }
}

/// Registers every endpoint.
pub(crate) fn register(config: &mut ServiceConfig, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        config.service(endpoint.resource());
    }
}

async fn only_get(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    wrong_method("GET, HEAD", &request, &app)
}

async fn only_post(request: HttpRequest, app: web::Data<Arc<App>>) -> HttpResponse {
    wrong_method("POST", &request, &app)
}

fn wrong_method(allow: &'static str, request: &HttpRequest, app: &App) -> HttpResponse {
    let error = match *request.method() {
        Method::OPTIONS if app.live().server.cors.is_none() => ApiError::no_preflight(allow),
        _ => ApiError::wrong_method(allow),
    };
    refuse(&error, request, app)
}

/// The endpoint to suggest for `path`. `None` if none is close, or if the path must not be repeated in an error.
pub(crate) fn suggest(path: &str, endpoints: &[Endpoint]) -> Option<Suggestion> {
    let segments = plain_segments(path)?;
    let matches = endpoints.iter().filter_map(|endpoint| Match::of(endpoint, &segments, endpoints));
    // Of several the first with the most segments: /v1/chat/completions rather than /v1/completions.
    let best = matches.reduce(|best, other| if other.wanted.len() > best.wanted.len() { other } else { best })?;
    Some(Suggestion { path: best.path(), advice: best.advice(path) })
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The segments of a path that is short and holds nothing that another program might decode or resolve (such as `%2F`
/// or `..`).
fn plain_segments(path: &str) -> Option<Vec<&str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~:@+".contains(&byte);
    if path.len() > MAX_SHOWN || !path.bytes().all(is_plain) {
        return None;
    }
    let segments = split(path);
    let is_resolved = segments.iter().any(|segment| matches!(*segment, "." | ".."));
    (!is_resolved).then_some(segments)
}

fn same(left: &[&str], right: &[&str]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.eq_ignore_ascii_case(right))
}

/// An endpoint within the segments of a path.
struct Match<'a> {
    /// What stands before it.
    before: &'a [&'a str],
    /// Its segments as they were written, without `v1` where the path lacks that.
    wanted: &'a [&'a str],
    /// Its parameter.
    rest: &'a [&'a str],
    /// Its segments as they should be written.
    fixed: Vec<&'static str>,
}

impl<'a> Match<'a> {
    fn of(endpoint: &Endpoint, segments: &'a [&'a str], endpoints: &[Endpoint]) -> Option<Self> {
        let (fixed, has_parameter) = endpoint.segments();
        if fixed.is_empty() {
            // The root is within every path.
            return None;
        }
        let without_version = || {
            let short = fixed.strip_prefix(&[VERSION])?;
            let at = find(segments, short, has_parameter)?;
            may_lack_version(&segments[..at], endpoints).then_some((at, short.len()))
        };
        let whole = find(segments, &fixed, has_parameter).map(|at| (at, fixed.len()));
        let (at, length) = whole.or_else(without_version)?;
        let (before, from) = segments.split_at(at);
        let (wanted, rest) = from.split_at(length);
        Some(Self { before, wanted, rest, fixed })
    }

    fn path(&self) -> String {
        let segments = self.fixed.iter().chain(self.rest);
        segments.fold(String::new(), |path, segment| path + "/" + segment)
    }

    fn advice(&self, path: &str) -> &'static str {
        let is_openai = self.fixed.first() == Some(&VERSION);
        if self.wanted.len() < self.fixed.len() {
            return "a client's base URL must end in /v1";
        }
        if !self.before.is_empty() {
            let repeats_version = self.before.last().is_some_and(|segment| segment.eq_ignore_ascii_case(VERSION));
            return match (is_openai, repeats_version) {
                (true, true) => "the client's base URL probably has /v1 twice",
                (true, false) => "the client's base URL probably has a part too many",
                (false, _) => "leave out what stands before it",
            };
        }
        if path.trim_end_matches('/').contains("//") {
            return "the client's base URL probably ends in a slash too many";
        }
        if path.ends_with('/') {
            return "leave out the slash at the end";
        }
        "write it in lower case"
    }
}

/// Where `wanted` begins in `segments`: at their end, or before a parameter of at least one segment.
fn find(segments: &[&str], wanted: &[&str], has_parameter: bool) -> Option<usize> {
    if has_parameter {
        let last = segments.len().checked_sub(wanted.len() + 1)?;
        return (0..=last).find(|at| same(&segments[*at..at + wanted.len()], wanted));
    }
    let at = segments.len().checked_sub(wanted.len())?;
    same(&segments[at..], wanted).then_some(at)
}

/// Whether a base URL may be what stands before a path without `v1`: another server's, or a whole endpoint's.
/// /v1/audio/completions is neither: it is another call.
fn may_lack_version(before: &[&str], endpoints: &[Endpoint]) -> bool {
    let has_version = before.iter().any(|segment| segment.eq_ignore_ascii_case(VERSION));
    !has_version || endpoints.iter().any(|endpoint| same(before, &endpoint.segments().0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin, api};

    fn suggested(path: &str) -> Option<String> {
        suggest(path, &api::ENDPOINTS).map(|suggestion| suggestion.path)
    }

    #[test]
    fn every_endpoint_is_found_behind_a_wrong_spelling_of_it() {
        for endpoints in [&api::ENDPOINTS[..], &admin::ENDPOINTS[..]] {
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.path != "/") {
                let path = endpoint.path.replace("{name:.*}", "llama/8b");
                let wrong = [
                    format!("/{path}"),
                    format!("{path}/"),
                    format!("{path}///"),
                    path.replace('/', "//"),
                    format!("/v1{path}"),
                    format!("/openai{path}"),
                    format!("/openai/{path}/"),
                    path.replace("v1", "V1"),
                    path.trim_start_matches("/v1").to_owned(),
                    format!("/api{}", path.trim_start_matches("/v1")),
                ];
                for wrong in wrong {
                    let found = suggest(&wrong, endpoints).map(|suggestion| suggestion.path);
                    assert_eq!(found.as_ref(), Some(&path), "{wrong}");
                }
            }
        }
    }

    #[test]
    fn what_is_close_to_nothing_or_might_be_decoded_has_no_suggestion() {
        let long = format!("/{}/v1/models", "x".repeat(MAX_SHOWN));
        let none = [
            "/",
            "//",
            "/v1",
            "/v1/",
            "/nowhere",
            "/v1/audio/completions",
            "/v1/threads/models",
            "/v1/chat/completions/chatcmpl-1",
            "/v1/../metrics",
            "/v1/./models",
            "//evil.example/../v1/models",
            "/v1/%2e%2e/models",
            "/v1%2fmodels",
            "/v1//models%2f",
            "/v1\\models",
            "/v1//models/<b>",
            "/v1//models/;x",
            "/v1//modèles",
            &long,
        ];
        for path in none {
            assert_eq!(suggested(path), None, "{path}");
        }
    }

    #[test]
    fn a_whole_endpoint_as_base_url_is_seen_through() {
        let path = suggested("/v1/chat/completions/chat/completions");
        assert_eq!(path.as_deref(), Some("/v1/chat/completions"));
        assert_eq!(suggested("/v1/chat/completions/models").as_deref(), Some("/v1/models"));
        assert_eq!(suggested("/openai/deployments/gpt/chat/completions").as_deref(), Some("/v1/chat/completions"));
    }
}
