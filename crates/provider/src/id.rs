//! Names as types. All are cheap to clone: they travel in events and guards.

use std::{fmt, sync::Arc};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// One configured instance of a provider, as named in the configuration.
    UpstreamId
}
name! {
    /// The public name that a client asks for.
    ModelId
}
name! {
    /// The id of one client request, unique with overwhelming probability.
    RequestId
}

/// What an upstream calls a call, the worker that served it and its edge: what their support asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamIds(Option<Arc<Ids>>);

#[derive(Debug, PartialEq, Eq)]
struct Ids {
    request: Option<String>,
    worker: Option<String>,
    edge: Option<String>,
}

impl UpstreamIds {
    /// The ids that are known: the upstream's of the call, of the worker, and that of the network in front of it.
    pub fn new(request: Option<String>, worker: Option<String>, edge: Option<String>) -> Self {
        let is_known = request.is_some() || worker.is_some() || edge.is_some();
        Self(is_known.then(|| Arc::new(Ids { request, worker, edge })))
    }

    /// These ids, and those of `others` where one of these is unknown.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        let (Some(ids), Some(others)) = (&self.0, &others.0) else {
            return if self.0.is_some() { self.clone() } else { others.clone() };
        };
        let first = |id: &Option<String>, other: &Option<String>| id.as_ref().or(other.as_ref()).cloned();
        Self::new(
            first(&ids.request, &others.request),
            first(&ids.worker, &others.worker),
            first(&ids.edge, &others.edge),
        )
    }

    /// The upstream's id of the call.
    pub fn request(&self) -> Option<&str> {
        self.0.as_ref()?.request.as_deref()
    }

    /// The upstream's id of the worker.
    pub fn worker(&self) -> Option<&str> {
        self.0.as_ref()?.worker.as_deref()
    }

    /// What the network in front of the upstream calls the call.
    pub fn edge(&self) -> Option<&str> {
        self.0.as_ref()?.edge.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_merged_one_by_one() {
        let text = |id: &str| Some(id.to_owned());
        let of_the_body = UpstreamIds::new(text("job"), None, None);
        let of_the_headers = UpstreamIds::new(text("request"), text("worker"), text("ray"));
        let nothing = UpstreamIds::default();
        assert_eq!(of_the_body.or(&of_the_headers), UpstreamIds::new(text("job"), text("worker"), text("ray")));
        assert_eq!(of_the_headers.or(&of_the_body), of_the_headers);
        assert_eq!(nothing.or(&of_the_body), of_the_body);
        assert_eq!(of_the_body.or(&nothing), of_the_body);
        assert_eq!(nothing.or(&nothing), nothing);
    }
}
