//! How many workers an endpoint has, in either of the two shapes that RunPod answers with.
//!
//! A queue endpoint's `/health` counts under `workers` and `jobs`; the management API lists the workers themselves and
//! counts under `summary`. Both have left fields out before, and a field left out is unknown, not zero.

use provider::{Capacity, Error, ErrorKind};
use serde_json::Value;

/// Reads an answer of either shape.
pub(crate) fn read(answer: &Value) -> Result<Capacity, Error> {
    let counts = answer.get("summary").or_else(|| answer.get("workers")).filter(|counts| counts.is_object());
    let Some(counts) = counts else {
        return Err(Error::new(ErrorKind::Protocol, "the upstream's answer does not count its workers"));
    };
    Ok(Capacity {
        running: count(counts, "running"),
        idle: count(counts, "idle"),
        initializing: count(counts, "initializing"),
        throttled: count(counts, "throttled"),
        unhealthy: count(counts, "unhealthy"),
        queued: answer.get("jobs").and_then(|jobs| count(jobs, "inQueue")),
    })
}

fn count(counts: &Value, name: &str) -> Option<u32> {
    counts.get(name)?.as_u64().and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_queue_endpoint_counts_workers_and_jobs() {
        let health = json!({
            "jobs": {"completed": 50, "failed": 2, "inProgress": 1, "inQueue": 7, "retried": 0},
            "workers": {"idle": 3, "initializing": 4, "ready": 3, "running": 1, "throttled": 5, "unhealthy": 6},
        });
        let expected = Capacity {
            running: Some(1),
            idle: Some(3),
            initializing: Some(4),
            throttled: Some(5),
            unhealthy: Some(6),
            queued: Some(7),
        };
        assert_eq!(read(&health).expect("a capacity"), expected);
    }

    #[test]
    fn the_management_api_counts_in_a_summary() {
        let workers = json!({
            "workers": [{"id": "w", "status": "RUNNING"}],
            "summary": {"running": 1, "idle": 0, "initializing": 0, "throttled": 2, "unhealthy": 0, "total": 3},
        });
        let capacity = read(&workers).expect("a capacity");
        assert_eq!((capacity.running, capacity.throttled, capacity.queued), (Some(1), Some(2), None));
    }

    #[test]
    fn what_is_left_out_is_unknown() {
        let capacity = read(&json!({"workers": {"idle": 0, "running": -1}})).expect("a capacity");
        assert_eq!(capacity, Capacity { idle: Some(0), ..Capacity::default() });
    }

    #[test]
    fn an_answer_without_counts_is_an_error() {
        for answer in [json!({"error": "not found"}), json!({"workers": []}), json!([]), json!(null)] {
            assert!(read(&answer).is_err(), "{answer}");
        }
    }
}
