//! Calls of the router's own that start a worker where the engine asks for it. They serve nobody, and nobody waits for them.

use std::sync::Arc;

use futures_util::{StreamExt, future::join_all};
use provider::{
    Call, Error, ErrorKind, Limits, MemoryBudget, Operation, Quota, ReasoningField, Request, RequestId, Time, Usage,
};
use rand::{SeedableRng, rngs::SmallRng};
use router::{Engine, Model, WarmUp};
use tokio::time::timeout_at;

use crate::{
    Router,
    attempt::{Progress, price},
    clock::Clock,
    event::{AttemptBegins, AttemptEnded, Event, EventSink, Outcome, RequestInfo},
    table::Table,
};

impl Router {
    /// Makes the warm-up calls that are due, and waits for their ends. To be called about once a second, in a task of its own:
    /// a start takes minutes. Of several replicas the one that polls capacity makes them, for the requests of all.
    pub async fn warm_up(&self) {
        let now = self.clock.now();
        if self.sink.is_stopping() || !self.acts_for_all(now) {
            return;
        }
        let table = self.table.load_full();
        let due = |model: &Arc<Model>| table.with(model.group, |engine| engine.warm_up(model, now));
        let calls = table.models().filter_map(due).map(|warm_up| self.begin(&table, warm_up).run());
        join_all(calls.collect::<Vec<_>>()).await;
    }

    fn begin(&self, table: &Arc<Table>, warm_up: WarmUp) -> WarmUpCall {
        let number = self.next_number();
        let seed = self.seed(number);
        let operation = operation(&warm_up.upstream().spec.operations);
        let info = RequestInfo {
            request_id: RequestId::from(format!("warm-up-{seed:016x}").as_str()),
            number,
            route: operation.into(),
            stream: false,
            model: Some(warm_up.model().spec.name.clone()),
            key: None,
            team: None,
            tags: None,
            requested: None,
        };
        WarmUpCall {
            info: Arc::new(info),
            sink: self.sink.clone(),
            clock: self.clock,
            table: table.clone(),
            operation,
            warm_up: Some(warm_up),
            progress: Progress::default(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }
}

/// A warm-up call. The drop of one that is under way ends it.
struct WarmUpCall {
    info: Arc<RequestInfo>,
    sink: Arc<EventSink>,
    clock: Clock,
    table: Arc<Table>,
    operation: Operation,
    /// `None` when it is over.
    warm_up: Option<WarmUp>,
    progress: Progress,
    rng: SmallRng,
}

impl WarmUpCall {
    async fn run(mut self) {
        let Some(limit) = self.warm_up.as_ref().map(WarmUp::limit) else { return };
        let limit = self.clock.instant(limit);
        match timeout_at(limit, self.answer()).await.unwrap_or_else(|_| Err(WarmUp::overdue())) {
            Ok(quota) => self.end(Outcome::Served, |engine, warm_up, _, now| engine.warmed_up(warm_up, quota, now)),
            Err(error) => {
                self.progress.record_ids(&error.ids);
                self.end(Outcome::Failed(error.kind), |engine, warm_up, rng, now| {
                    engine.warm_up_failed(warm_up, &error, now, rng);
                });
            }
        }
    }

    /// Makes the call and reads its answer. Returns what is left of the upstream's allowance.
    async fn answer(&mut self) -> Result<Quota, Error> {
        let Some(warm_up) = &self.warm_up else { return Ok(Quota::default()) };
        if let Some(recording) = self.sink.observer.begin(&self.begins(warm_up)) {
            recording.await?;
        }
        let request = request(self.operation, self.info.model.as_ref().map_or("", |model| model.as_str()))?;
        let request_id = self.info.request_id.clone();
        let call = Call {
            request_id,
            adjustment: None,
            reasoning: ReasoningField::default(),
            memory: MemoryBudget::default(),
        };
        let mut reply = self.table.provider(warm_up.upstream()).call(&request, &call).await?;
        self.progress.replied(&reply.head);
        while let Some(frame) = reply.frames.next().await {
            self.progress.record(&frame?, self.operation.generates());
        }
        Ok(reply.head.quota)
    }

    /// The event before the call is made.
    fn begins<'a>(&'a self, warm_up: &'a WarmUp) -> AttemptBegins<'a> {
        let (spec, attempt) = (&warm_up.upstream().spec, warm_up.attempt());
        let reserved = Usage { prompt_tokens: attempt.prompt_tokens(), completion_tokens: 1, ..Usage::default() };
        AttemptBegins {
            info: &self.info,
            number: 1,
            upstream: &spec.id,
            role: attempt.role,
            reason: attempt.reason,
            reserved,
            reserved_cost: price(&reserved, spec.tariff.as_ref()),
            price_version: spec.price_version.as_deref(),
        }
    }

    /// Tells the engine by `how`, and the observer, that the call is over, unless it was before.
    fn end(&mut self, outcome: Outcome, how: impl FnOnce(&mut Engine, WarmUp, &mut SmallRng, Time)) {
        let Some(warm_up) = self.warm_up.take() else { return };
        let now = self.clock.now();
        let (model, upstream, attempt) = (warm_up.model().clone(), warm_up.upstream().clone(), *warm_up.attempt());
        self.table.with(upstream.group, |engine| how(engine, warm_up, &mut self.rng, now));
        let tariff = upstream.spec.tariff.as_ref();
        let asked = Usage { prompt_tokens: attempt.prompt_tokens(), ..Usage::default() };
        let ended = AttemptEnded {
            info: self.info.clone(),
            number: 1,
            upstream: upstream.spec.id.clone(),
            role: attempt.role,
            after: None,
            strategy: model.spec.strategy,
            reason: attempt.reason,
            outcome,
            usage: self.progress.usage,
            cost: self.progress.cost(tariff),
            price_version: upstream.spec.price_version.clone(),
            estimate: self.progress.estimate(outcome, asked, tariff),
            ids: self.progress.ids(),
            first_token: None,
            duration: now - attempt.started,
        };
        self.sink.observer.on(&Event::AttemptEnded(&ended));
    }
}

/// The router stopped, or the call's task was dropped.
impl Drop for WarmUpCall {
    fn drop(&mut self) {
        self.end(Outcome::Stopped, |engine, warm_up, _, now| engine.warm_up_dropped(warm_up, now));
    }
}

/// Which call to make to an upstream that serves these.
fn operation(served: &[Operation]) -> Operation {
    Operation::ALL.into_iter().find(|operation| served.contains(operation)).unwrap_or(Operation::Chat)
}

/// The smallest request: the adapter puts in the model's name at its upstream.
fn request(operation: Operation, model: &str) -> Result<Request, Error> {
    let body = match operation {
        Operation::Chat => {
            serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
        }
        Operation::Completions => serde_json::json!({"model": model, "prompt": "Hi", "max_tokens": 1}),
        Operation::Embeddings => serde_json::json!({"model": model, "input": "Hi"}),
        Operation::Rerank => serde_json::json!({"model": model, "query": "Hi", "documents": ["Hi"]}),
        Operation::Score => serde_json::json!({"model": model, "text_1": "Hi", "text_2": "Hi"}),
        Operation::Tokenize => serde_json::json!({"model": model, "prompt": "Hi"}),
        Operation::Detokenize => serde_json::json!({"model": model, "tokens": [1]}),
        Operation::Transcriptions => return silence(model),
    };
    let request = Request::parse(operation, body.to_string().into(), Limits { max_messages: 1 });
    request.map_err(|invalid| Error::new(ErrorKind::InvalidRequest, invalid.message))
}

/// A tenth of a second of silence, to be transcribed: 16,000 samples a second, of two bytes each.
fn silence(model: &str) -> Result<Request, Error> {
    const BOUNDARY: &str = "llm-router-warm-up";
    const SAMPLES: [u8; 3_200] = [0; 3_200];
    let sizes = [36 + 3_200_u32, 16, 16_000, 32_000, 3_200].map(u32::to_le_bytes);
    let [riff, format, rate, bytes_per_second, data] = &sizes;
    let wav: [&[u8]; 10] = [
        b"RIFF",
        riff,
        b"WAVEfmt ",
        format,
        b"\x01\0\x01\0",
        rate,
        bytes_per_second,
        b"\x02\0\x10\0data",
        data,
        &SAMPLES,
    ];
    let start = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"silence.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
    );
    let body = [start.as_bytes(), &wav.concat(), format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    let request = Request::parse_form(body.into(), &format!("multipart/form-data; boundary={BOUNDARY}"));
    request.map_err(|invalid| Error::new(ErrorKind::InvalidRequest, invalid.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_smallest_request_of_every_operation() {
        for operation in Operation::ALL {
            let request = request(operation, "m").expect("a request");
            assert_eq!((request.operation, request.head.model.as_str()), (operation, "m"));
        }
        assert_eq!(request(Operation::Transcriptions, "m").expect("a request").head.audio_ms, 102, "with its header");
    }
}
