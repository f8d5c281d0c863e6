//! The control API over HTTP: the same orders as on [`crate::Emulator`], for an emulator in a process of its own.

use actix_web::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    face::Face,
    fault::{Fault, Rule},
    reply::Reply,
    state::State,
};

/// An order for one face. Without a fault only the reported workers change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlRequest {
    face: Face,
    fault: Option<Fault>,
    times: Option<u64>,
    share: Option<f64>,
    containing: Option<String>,
    #[serde(default)]
    probes: bool,
    /// Several rules at once, tried in this order.
    rules: Option<Vec<Rule>>,
    workers: Option<Reported>,
    /// Whether everything that is under way is broken off as well.
    #[serde(default)]
    sever: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reported {
    #[serde(default)]
    throttled: usize,
    #[serde(default)]
    unhealthy: usize,
}

/// Serves a control request.
pub(crate) fn serve(state: &State, method: &Method, rest: &[&str], body: &[u8]) -> Reply {
    match (rest, method.as_str()) {
        ([], "GET") => Reply::json(200, &current(state)),
        ([], "POST") => match serde_json::from_slice(body) {
            Ok(request) => {
                apply(state, request);
                Reply::json(200, &current(state))
            }
            Err(cause) => Reply::json(400, &json!({"error": cause.to_string()})),
        },
        (["reset"], "POST") => {
            state.reset();
            Reply::json(200, &current(state))
        }
        (["calls"], "GET") => match serde_json::to_string(&state.call_logs()) {
            Ok(logs) => Reply::ok(logs),
            Err(cause) => Reply::json(500, &json!({"error": cause.to_string()})),
        },
        _ => Reply::json(404, &json!({"error": "no such control path"})),
    }
}

fn apply(state: &State, request: ControlRequest) {
    let ControlRequest { face, fault, times, share, containing, probes, rules, workers, sever } = request;
    if let Some(workers) = workers {
        state.report_workers(face, workers.throttled, workers.unhealthy);
    }
    let single = fault.map(|fault| vec![Rule { fault, times, share, containing, probes }]);
    if let Some(rules) = rules.or(single) {
        state.set_rules(face, rules);
    }
    if sever {
        state.sever(face);
    }
}

fn current(state: &State) -> Value {
    let now = Instant::now();
    let faces = Face::ALL.map(|face| {
        let mut fleet = state.face(face).fleet.lock();
        let value = json!({"rules": state.rules(face), "workers": fleet.counts(now), "queued": fleet.queued(), "in_progress": fleet.placed()});
        (face.name().to_owned(), value)
    });
    json!({"speed": state.speed(), "faces": faces.into_iter().collect::<serde_json::Map<_, _>>()})
}
