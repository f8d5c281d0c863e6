//! One request through a new endpoint: it starts a worker, and shows that the model loads and answers.

use std::time::Duration;

use futures_util::StreamExt as _;
use openai::Client;
use provider::{Call, Error, Limits, MemoryBudget, Operation, Provider, Request, RequestId};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use runpod::{RunPod, Settings};

/// Asks `model` behind `client` for a few tokens, again and again until it answers: a load balancer refuses while no worker
/// is up, and a queue's gateway gives up before a cold start is over. Returns how long that took.
///
/// # Errors
/// The last refusal, once `patience` is over, or at once if waiting will not help.
pub async fn warm_up(client: Client, model: &str, patience: Duration) -> Result<Duration, Error> {
    let settings = Settings {
        model: model.to_owned(),
        default_max_tokens: None,
        context_tokens: None,
        capacity_url: None,
        jobs_url: None,
    };
    let endpoint = RunPod::new(client, settings).map_err(|error| invalid(&error.to_string()))?;
    let messages = json!([{"role": "user", "content": "Say hello."}]);
    let body = json!({"model": model, "messages": messages, "max_tokens": 16}).to_string();
    let request = Request::parse(Operation::Chat, body.into(), Limits { max_messages: 1 });
    let request = request.map_err(|error| invalid(&error.message))?;
    let start = Instant::now();
    let deadline = start + patience;
    let call = Call {
        request_id: RequestId::from("warm-up"),
        adjustment: None,
        reasoning: provider::ReasoningField::default(),
        memory: MemoryBudget::default(),
    };
    let mut wait = Duration::from_secs(2);
    loop {
        let error = match timeout_at(deadline, ask(&endpoint, &request, &call)).await {
            Ok(Ok(())) => return Ok(start.elapsed()),
            Ok(Err(error)) => error,
            Err(_) => invalid("the endpoint did not answer"),
        };
        if !error.kind.repeats_here() || Instant::now() + wait > deadline {
            return Err(error);
        }
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(15));
    }
}

async fn ask(endpoint: &RunPod, request: &Request, call: &Call) -> Result<(), Error> {
    let mut frames = endpoint.call(request, call).await?.frames;
    while let Some(frame) = frames.next().await {
        frame?;
    }
    Ok(())
}

fn invalid(message: &str) -> Error {
    Error::new(provider::ErrorKind::InvalidRequest, message)
}
