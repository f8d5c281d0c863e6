//! Plays the recordings and compares with the table.

use std::time::Duration;

use futures_util::StreamExt as _;
use openai::{Client, OpenAi, Served, Settings};
use provider::{Call, Error, Frame, FrameKind, MemoryBudget, Provider, Request, Usage};
use runpod::RunPod;

use crate::{
    capture::{Capture, harmless, names},
    jobs,
    server::{Answer, Server},
    table::{Ask, Expect, ROWS, Row},
};

const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// A server and a provider that calls it.
struct Stage {
    server: Server,
    provider: Box<dyn Provider>,
}

impl Stage {
    async fn set(make: impl FnOnce(Client) -> Box<dyn Provider>) -> Self {
        let server = Server::start().await;
        let settings = Settings {
            base_url: server.url("/v1"),
            api_key: None,
            connect_timeout: Duration::from_secs(5),
            headers: Vec::new(),
        };
        let client = Client::new(&settings).expect("a client");
        Self { server, provider: make(client) }
    }

    async fn openai() -> Self {
        Self::set(|client| Box::new(OpenAi::new(client, Served::new(MODEL, None, "max_tokens")))).await
    }

    async fn runpod() -> Self {
        let settings = runpod::Settings {
            model: MODEL.to_owned(),
            default_max_tokens: Some(64),
            context_tokens: None,
            capacity_url: None,
            jobs_url: None,
        };
        Self::set(|client| Box::new(RunPod::new(client, settings).expect("a provider"))).await
    }

    /// Sends `request`, which the server answers with `answer`.
    async fn play(&self, request: &Request, answer: &Answer) -> Result<Vec<Frame>, Error> {
        let call = Call {
            request_id: "r".into(),
            adjustment: None,
            reasoning: provider::ReasoningField::default(),
            memory: MemoryBudget::default(),
        };
        let result = async {
            let mut reply = self.provider.call(request, &call).await?;
            let mut frames = Vec::new();
            while let Some(frame) = reply.frames.next().await {
                frames.push(frame?);
            }
            Ok(frames)
        };
        let (result, asked) = tokio::join!(result, self.server.answer(answer));
        assert_eq!(asked.path, format!("/v1/{}", request.operation.path()));
        assert_eq!(asked.body["model"], MODEL);
        assert!(asked.head.contains("content-type: application/json"), "{}", asked.head);
        result
    }
}

/// The request that gets the recorded answer.
fn request(row: &Row, capture: &Capture) -> Request {
    match row.ask {
        Ask::Recorded => capture.request().unwrap_or_else(|refusal| panic!("{}: {refusal}", row.name)),
        Ask::Refused(param) => {
            let refusal = capture.request().err().unwrap_or_else(|| panic!("{} was let in", row.name));
            assert_eq!(refusal.param.as_deref(), param, "{}: {refusal}", row.name);
            harmless(false)
        }
        Ask::Other { stream } => harmless(stream),
    }
}

fn usage(frame: &Frame) -> Option<(u64, u64)> {
    frame.usage.map(|Usage { prompt_tokens, completion_tokens, .. }| (prompt_tokens, completion_tokens))
}

fn letter(frame: &Frame) -> char {
    match frame.kind {
        FrameKind::Opening => 'O',
        FrameKind::Content => 'C',
        FrameKind::Finish => 'F',
        FrameKind::Usage => 'U',
        FrameKind::Done => 'D',
        FrameKind::Whole => 'W',
    }
}

fn text(frame: &Frame) -> String {
    String::from_utf8(frame.bytes.to_vec()).expect("text")
}

fn compare(context: &str, expect: &Expect, capture: &Capture, result: Result<Vec<Frame>, Error>) {
    match (expect, result) {
        (Expect::Frames { kinds, tokens }, Ok(frames)) => {
            assert_eq!(frames.iter().map(letter).collect::<String>(), *kinds, "{context}");
            assert_eq!(frames.iter().filter_map(usage).next_back(), *tokens, "{context}");
            assert_eq!(frames.iter().map(text).collect::<Vec<_>>(), capture.reads(), "{context}");
        }
        (Expect::Failure { kind, status, param, code, message }, Err(error)) => {
            assert_eq!(error.kind, *kind, "{context}: {error}");
            assert!(error.message.starts_with(message), "{context}: {error}");
            assert_eq!(
                (error.status, error.param.as_deref(), error.code.as_deref()),
                (*status, *param, *code),
                "{context}: {error}"
            );
        }
        (_, Ok(frames)) => panic!("{context}: expected an error, got {frames:?}"),
        (_, Err(error)) => panic!("{context}: expected an answer, got {error}"),
    }
}

#[test]
fn every_recording_has_a_row() {
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    rows.sort_unstable();
    assert_eq!(rows, names());
}

#[tokio::test]
async fn vllm_is_understood_directly() {
    for stage in [Stage::openai().await, Stage::runpod().await] {
        for row in ROWS {
            let capture = Capture::load(row.name);
            let result = stage.play(&request(row, &capture), &capture.answer()).await;
            compare(row.name, &row.expect, &capture, result);
        }
    }
}

#[tokio::test]
async fn a_failed_job_means_what_it_hides() {
    let stage = Stage::runpod().await;
    for row in ROWS {
        let capture = Capture::load(row.name);
        if capture.status < 400 {
            continue;
        }
        for (form, answer) in jobs::presentations(capture.status, &capture.body()) {
            let result = stage.play(&request(row, &capture), &answer).await;
            compare(&format!("{} as {form}", row.name), &row.expect, &capture, result);
        }
    }
}

#[tokio::test]
async fn the_cut_of_the_reads_does_not_matter() {
    let stage = Stage::runpod().await;
    let capture = Capture::load("stream-usage");
    let request = capture.request().expect("valid");
    let whole = capture.reads().concat();
    for size in [1, 7, 300, whole.len()] {
        let reads = whole.as_bytes().chunks(size).map(|piece| String::from_utf8_lossy(piece).into_owned());
        let answer = Answer { reads: reads.collect(), ..capture.answer() };
        let frames = stage.play(&request, &answer).await.expect("an answer");
        assert_eq!(frames.iter().map(text).collect::<Vec<_>>(), capture.reads(), "pieces of {size}");
    }
}

#[tokio::test]
async fn usage_is_counted_but_not_shown_to_a_client_that_did_not_ask() {
    let stage = Stage::runpod().await;
    let capture = Capture::load("stream-usage");
    let frames = stage.play(&harmless(true), &capture.answer()).await.expect("an answer");
    assert_eq!(frames.iter().filter_map(usage).collect::<Vec<_>>(), [(40, 8)]);
    let mut expected = capture.reads();
    let counted = expected.len() - 2;
    expected[counted].clear();
    assert_eq!(frames.iter().map(text).collect::<Vec<_>>(), expected);
}
