//! A server and a provider that calls it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use openai::{Client, OpenAi, Served, Settings};
use provider::{Adjustment, Call, Error, Frame, FrameKind, Limits, MemoryBudget, Operation, Provider as _, Request};
use serde_json::{Value, json};

use crate::raw::{Raw, Turn};

pub(crate) const CONTENT: &str =
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}]}\n\n";
pub(crate) const FINISH: &str =
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A 200 with these headers whose body ends with the connection.
pub(crate) fn until_closed(headers: &str, body: &str) -> Turn {
    Turn::Last(vec![format!("HTTP/1.1 200 OK\r\n{headers}\r\n"), body.to_owned()])
}

/// A whole answer after which the connection is kept.
pub(crate) fn kept(body: &str) -> Turn {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    Turn::Answer(vec![head, body.to_owned()])
}

pub(crate) struct Stage {
    pub(crate) server: Raw,
    provider: OpenAi,
    operation: Operation,
}

impl Stage {
    /// A server of chats.
    pub(crate) async fn set(connections: Vec<Vec<Turn>>) -> Self {
        Self::of(Operation::Chat, connections).await
    }

    pub(crate) async fn of(operation: Operation, connections: Vec<Vec<Turn>>) -> Self {
        let server = Raw::start(connections).await;
        let base_url = server.url("/v1");
        Self::at(base_url, operation, server)
    }

    /// An address without a listener.
    pub(crate) async fn unreachable() -> Self {
        Self::at("http://127.0.0.1:1/v1".to_owned(), Operation::Chat, Raw::start(Vec::new()).await)
    }

    fn at(base_url: String, operation: Operation, server: Raw) -> Self {
        let settings =
            Settings { base_url, api_key: None, connect_timeout: Duration::from_secs(5), headers: Vec::new() };
        let client = Client::new(&settings).expect("a client");
        Self { server, provider: OpenAi::new(client, Served::new("served", Some(64), "max_tokens")), operation }
    }

    pub(crate) async fn call(&self, more: Value, adjustment: Option<Adjustment>) -> Result<Vec<Frame>, Error> {
        let mut body = match self.operation {
            Operation::Chat => json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
            Operation::Completions => json!({"model": "m", "prompt": "x"}),
            Operation::Embeddings => json!({"model": "m", "input": "x"}),
            other => panic!("no test sends {other:?} here"),
        };
        body.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        let request = Request::parse(self.operation, Bytes::from(body.to_string()), Limits { max_messages: 9 });
        let request = request.expect("a valid request");
        let call = Call {
            request_id: "r".into(),
            adjustment,
            reasoning: provider::ReasoningField::default(),
            memory: MemoryBudget::default(),
        };
        let result = async {
            let mut reply = self.provider.call(&request, &call).await?;
            let mut frames = Vec::new();
            while let Some(frame) = reply.frames.next().await {
                frames.push(frame?);
            }
            Ok(frames)
        };
        tokio::time::timeout(Duration::from_secs(20), result).await.expect("an end")
    }

    pub(crate) async fn stream(&self) -> Result<Vec<Frame>, Error> {
        self.call(json!({"stream": true}), None).await
    }
}

pub(crate) fn kinds(frames: &[Frame]) -> Vec<FrameKind> {
    frames.iter().map(|frame| frame.kind).collect()
}

pub(crate) fn text(frames: &[Frame]) -> String {
    frames.iter().map(|frame| String::from_utf8_lossy(&frame.bytes)).collect()
}
