//! Addresses of upstreams.

use http::Uri;
use url::Url;

use crate::{host::HostKind, reader::Table, value::Text};

/// Paths that the router appends to a base URL. Users often paste a URL that includes one.
const CALLS: [&str; 3] = ["/chat/completions", "/completions", "/embeddings"];

/// Which addresses an upstream may have beyond those that are safe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// `http://` to the public, where the key and every prompt travel in clear.
    insecure: bool,
    /// Metadata services and link-local addresses.
    metadata: bool,
}

impl Allowed {
    /// As the table of an upstream says.
    pub(crate) fn read(table: &mut Table<'_>) -> Self {
        Self { insecure: table.flag("allow_insecure", false), metadata: table.flag("allow_metadata", false) }
    }
}

/// An `http` or `https` address without a trailing slash, which leads where it may. Where it leads cannot be said as long as
/// a variable in it is not set: it is returned as it is.
pub(crate) fn address(text: &Text<'_>, allowed: Allowed) -> Option<String> {
    let expected = "an address such as \"https://host/v1\"";
    let value = text.value.trim_end_matches('/');
    if !text.is_complete {
        return Some(value.to_owned());
    }
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
    // The stricter parser says whether it is an address, the HTTP client's own where it leads.
    let (Ok(uri), true) = (value.parse::<Uri>(), value.is_ascii()) else {
        return text.refuse("is not an address", expected, None);
    };
    let scheme = uri.scheme_str();
    if !matches!(scheme, Some("http" | "https")) {
        return text.refuse("is neither http nor https", expected, None);
    }
    if uri.host().is_none_or(str::is_empty) {
        return text.refuse("names no host", expected, None);
    }
    let Some(kind) = value.parse::<Url>().ok().as_ref().and_then(Url::host).map(|host| HostKind::of(&host)) else {
        return text.refuse("is not an address", expected, None);
    };
    if kind == HostKind::Metadata && !allowed.metadata {
        let hint = "allow_metadata = true permits it".to_owned();
        return text.refuse("leads to link-local addresses or a metadata service", "an upstream's address", Some(hint));
    }
    if kind == HostKind::Public && scheme == Some("http") && !allowed.insecure {
        let hint = "write https://, or permit it with allow_insecure = true".to_owned();
        return text.refuse("sends key and prompts in clear", "https:// outside one's own network", Some(hint));
    }
    Some(value.to_owned())
}
