//! Errors of reports over HTTP.

use std::time::Duration;

use actix_web::http::StatusCode;
use ledger::StoreError;

use super::ApiError;

impl ApiError {
    pub(crate) fn no_ledger() -> Self {
        let message = "the router keeps no ledger: set storage.url and restart it";
        Self::bad_request(StatusCode::CONFLICT, "no_ledger", message)
    }

    pub(crate) fn bad_report(mistake: &str) -> Self {
        let message = format!("{mistake}: the query takes by, month, since, until, team, tag and format");
        Self::bad_request(StatusCode::BAD_REQUEST, "invalid_query", message)
    }

    /// A question that the ledger cannot answer exactly.
    pub(crate) fn inexact_report(why: &str) -> Self {
        Self::bad_request(StatusCode::BAD_REQUEST, "invalid_query", why)
    }

    /// The database is no ledger, or one of a newer version: no later try helps.
    pub(crate) fn foreign_ledger(what: &str) -> Self {
        Self::bad_request(StatusCode::CONFLICT, "foreign_ledger", what)
    }

    pub(crate) fn too_many_reports() -> Self {
        let message = "the router makes as many reports as it may: ask again when one is done";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
        error.retry_after = Some(Duration::from_secs(5));
        error
    }

    pub(crate) fn report_too_slow(longest: Duration) -> Self {
        let message = format!(
            "the report was not there after {} s: ask for fewer days, or use llm-router spend or savings",
            longest.as_secs()
        );
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "report_timeout", message)
    }

    /// The ledger's database cannot be asked.
    pub(crate) fn ledger_silent() -> Self {
        let message = "the ledger's database does not answer: try again in a moment";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "ledger_unavailable", message);
        error.retry_after = Some(Duration::from_secs(5));
        error
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Inexact(why) => Self::inexact_report(&why),
            StoreError::Foreign(what) => Self::foreign_ledger(&what),
            StoreError::TooSlow(longest) => Self::report_too_slow(longest),
            StoreError::Sqlite { .. } | StoreError::Postgres { .. } => {
                tracing::error!(%error, "the ledger cannot be asked for a report");
                Self::ledger_silent()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_ledger_say_whether_another_try_helps() {
        let of = |error: StoreError| ApiError::from(error);
        let newer =
            of(StoreError::Foreign("x.db: this ledger was written by a newer version of llm-router".to_owned()));
        assert_eq!((newer.status, &*newer.code, newer.retry_after), (StatusCode::CONFLICT, "foreign_ledger", None));
        assert!(newer.message.contains("newer version"), "{}", newer.message);
        let inexact = of(StoreError::Inexact("begin at a full hour".to_owned()));
        assert_eq!((inexact.status, &*inexact.message), (StatusCode::BAD_REQUEST, "begin at a full hour"));
        let slow = of(StoreError::TooSlow(Duration::from_secs(30)));
        assert_eq!((slow.status, &*slow.code), (StatusCode::GATEWAY_TIMEOUT, "report_timeout"));
    }
}
