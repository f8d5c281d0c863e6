//! Errors, each with a message that says what to do next.

use provider::ErrorKind;

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RunPod refused, or was not reached.
    #[error("cannot {doing}: {}{}", .cause.message, advice(.cause))]
    Api {
        /// What was tried; completes "cannot ".
        doing: String,
        /// What came back.
        cause: provider::Error,
    },
    /// What is asked for cannot be made of what exists; all reasons at once.
    #[error("{}", .0.join("\n"))]
    Conflicts(Vec<String>),
}

fn advice(cause: &provider::Error) -> String {
    match (cause.kind, cause.status) {
        (ErrorKind::Auth, Some(403)) => {
            "\n  the key in RUNPOD_API_KEY needs read and write access to serverless endpoints and network volumes"
                .into()
        }
        (ErrorKind::Auth, _) => "\n  check the key in RUNPOD_API_KEY, or make a new one in RunPod's console".into(),
        (ErrorKind::RateLimited, _) => match cause.retry_after {
            Some(wait) => format!("\n  try again in {} s", wait.as_secs().max(1)),
            None => "\n  try again in a minute".into(),
        },
        (ErrorKind::Connect, _) => "\n  check --api and the network".into(),
        (ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::Interrupted | ErrorKind::Timeout(_), _) => {
            "\n  run the command again: it goes on with what is not done yet".into()
        }
        (
            ErrorKind::InvalidRequest
            | ErrorKind::ContextOverflow
            | ErrorKind::Unsupported
            | ErrorKind::Refused
            | ErrorKind::NotFound
            | ErrorKind::Protocol
            | ErrorKind::NoMemory
            | ErrorKind::Unrecorded
            | ErrorKind::OverBudget,
            _,
        ) => String::new(),
    }
}
