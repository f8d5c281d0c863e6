//! Addresses of upstreams.

use actix_web::http::Uri;

use super::value::Text;

/// What is appended to a base URL, and often pasted with it.
const CALLS: [&str; 3] = ["/chat/completions", "/completions", "/embeddings"];

/// An `http` or `https` address without a trailing slash.
pub(super) fn address(text: &Text<'_>) -> Option<String> {
    let expected = "an address such as \"https://host/v1\"";
    let value = text.value.trim_end_matches('/');
    if value.contains('@') {
        return text.refuse_hidden(
            "has credentials in it",
            expected,
            "put the key in the environment, see api_key_env",
        );
    }
    if value.contains(['?', '#']) {
        return text.refuse_hidden("has a query", expected, "end the address with its path");
    }
    if let Some(call) = CALLS.iter().find(|call| value.ends_with(**call)) {
        return text.refuse("is the address of one call", expected, Some(format!("leave out {call}: it is appended")));
    }
    if !value.contains("://") {
        let hint = Some(format!("write \"https://{}\"", text.raw().trim_start_matches('/')));
        return text.refuse("has no http:// or https:// in front", expected, hint);
    }
    let Ok(uri) = value.parse::<Uri>() else {
        return text.refuse("is not an address", expected, None);
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return text.refuse("is neither http nor https", expected, None);
    }
    if uri.host().is_none_or(str::is_empty) {
        return text.refuse("names no host", expected, None);
    }
    Some(value.to_owned())
}
