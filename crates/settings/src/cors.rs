//! `[server.cors]`: the pages whose scripts may call the router.

use crate::{problem::Problem, reader::Table};

const EXPECTED: &str = "an array of origins, such as [\"https://app.example\"]";
const ORIGIN: &str =
    "an origin as browsers send it: a scheme, a host and at most a port, such as \"https://app.example\"";
const ANY: &str = "*";

/// The pages whose scripts may call the router, by where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All pages.
    Any,
    /// Those of these origins, each as browsers send it.
    Listed(Vec<String>),
}

/// Reads `[server.cors]`; `None` without that.
pub(crate) fn read(server: &mut Table<'_>) -> Option<CorsOrigins> {
    let mut table = server.table("cors")?;
    let (context, path) = (table.context, table.at("origins"));
    let items = table.required_item("origins", EXPECTED);
    table.finish();
    let texts = items?.words(EXPECTED)?;
    if texts.is_empty() {
        let hint = "leave [server.cors] out to answer no page";
        context.report(Problem::new(path, "is empty", EXPECTED).hint(hint));
    }
    if let [only] = &texts[..]
        && only.value == ANY
    {
        return Some(CorsOrigins::Any);
    }
    let mut origins: Vec<String> = Vec::new();
    for text in &texts {
        let twice = origins.contains(&text.value).then_some(("is there twice", None));
        match fault(&text.value).or(twice) {
            Some((fault, hint)) => {
                text.refuse::<()>(fault, ORIGIN, hint);
            }
            None => origins.push(text.value.clone()),
        }
    }
    Some(CorsOrigins::Listed(origins))
}

/// What is wrong with an origin, and what to try.
fn fault(text: &str) -> Option<(&'static str, Option<String>)> {
    if text == ANY {
        return Some((
            "stands beside other origins",
            Some("\"*\" is every origin: keep it alone, or leave it out".into()),
        ));
    }
    if text == "null" {
        let hint = "\"null\" is what files and sandboxed frames of any page send: serve the page from an address";
        return Some(("is no origin of a page", Some(hint.to_owned())));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Some(("has no scheme", Some(format!("did you mean \"https://{text}\"?"))));
    };
    let host_and_port = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let proposal = |origin: String| Some(format!("did you mean {origin:?}?"));
    if host_and_port.len() < rest.len() {
        let fault =
            if rest.ends_with('/') && rest.len() == host_and_port.len() + 1 { "ends in a slash" } else { "has a path" };
        return Some((fault, proposal(format!("{scheme}://{host_and_port}"))));
    }
    if text.contains('*') {
        return Some(("has a wildcard", Some("list each origin, or \"*\" alone for all".to_owned())));
    }
    if host_and_port.contains('@') {
        return Some(("has a user", proposal(format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()))));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(("has capitals", proposal(text.to_ascii_lowercase())));
    }
    let usual_port = [("https", ":443"), ("http", ":80")].iter().find(|(of, _)| *of == scheme);
    if let Some(host) = usual_port.and_then(|(_, port)| rest.strip_suffix(port)) {
        return Some(("has a port that browsers leave out", proposal(format!("{scheme}://{host}"))));
    }
    let is_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    if scheme.is_empty() || rest.is_empty() || !scheme.bytes().all(is_scheme) || !rest.bytes().all(is_host) {
        let is_international = !rest.is_ascii();
        let hint = is_international.then(|| "browsers send such a name as xn--…".to_owned());
        return Some(("is not an origin", hint));
    }
    let port = rest.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    port.is_some_and(|port| port.parse::<u16>().is_err()).then_some(("has no port behind the colon", None))
}
