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

/// What an upstream calls a call and the worker that served it: what its support asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamIds(Option<Arc<Ids>>);

#[derive(Debug, PartialEq, Eq)]
struct Ids {
    request: Option<String>,
    worker: Option<String>,
}

impl UpstreamIds {
    /// The ids that are known.
    pub fn new(request: Option<String>, worker: Option<String>) -> Self {
        let is_known = request.is_some() || worker.is_some();
        Self(is_known.then(|| Arc::new(Ids { request, worker })))
    }

    /// The upstream's id of the call.
    pub fn request(&self) -> Option<&str> {
        self.0.as_ref()?.request.as_deref()
    }

    /// The upstream's id of the worker.
    pub fn worker(&self) -> Option<&str> {
        self.0.as_ref()?.worker.as_deref()
    }
}
