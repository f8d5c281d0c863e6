//! A small HTTP client with a pool of its own.

use std::sync::Once;

use futures_util::{StreamExt, stream};
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;

use crate::rig::PATIENCE;

/// A client of one address with one key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

/// A stream that is being read.
#[derive(Debug)]
pub struct Stream {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    response: Response,
    buffer: Vec<u8>,
}

/// A stream that was read to its end.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The events: what stands behind `data:`.
    pub events: Vec<String>,
    /// How many comments came in between.
    pub comments: usize,
    /// Whether the body ended as HTTP wants it to, rather than with the connection.
    pub is_complete: bool,
}

impl Client {
    /// A client for `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, key: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Reqwest wants one even for plain HTTP; an error means that the server was faster.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let http = reqwest::Client::builder().no_proxy().http1_only().timeout(PATIENCE).build();
        Self { http: http.expect("a client"), base: base.to_owned(), key: key.to_owned() }
    }

    /// The same address with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A request with the key and no body.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    /// A request without the key.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A POST with the key and a JSON body.
    pub fn json(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).header("content-type", "application/json").body(body.to_string())
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.json(path, body)).await
    }

    /// `POST /v1/chat/completions`, read as a whole.
    pub async fn chat(&self, body: &Value) -> Answer {
        Answer::read(self.send_chat(body).await).await
    }

    /// `POST /v1/chat/completions`, for the caller to read event by event.
    pub async fn open(&self, body: &Value) -> Stream {
        Stream::of(self.send_chat(body).await)
    }

    async fn send_chat(&self, body: &Value) -> Response {
        self.json("/v1/chat/completions", body).send().await.expect("an answer")
    }

    /// `POST /v1/chat/completions`, read as a stream to its end.
    pub async fn stream(&self, body: &Value) -> Transcript {
        self.open(body).await.rest().await
    }

    /// So many chats, so many at a time; answers come in the order of their numbers.
    pub async fn chats(&self, count: usize, at_once: usize, body: impl Fn(usize) -> Value) -> Vec<Answer> {
        at_a_time(count, at_once, async |number| self.chat(&body(number)).await).await
    }

    /// The same as streams.
    pub async fn streams(&self, count: usize, at_once: usize, body: impl Fn(usize) -> Value) -> Vec<Transcript> {
        at_a_time(count, at_once, async |number| self.stream(&body(number)).await).await
    }
}

/// Runs so many calls, the next one whenever any has ended; what they give is in the order of their numbers.
async fn at_a_time<T>(count: usize, at_once: usize, call: impl AsyncFn(usize) -> T) -> Vec<T> {
    let call = &call;
    let calls = (0..count).map(|number| async move { (number, call(number).await) });
    let mut ended: Vec<(usize, T)> = stream::iter(calls).buffer_unordered(at_once).collect().await;
    ended.sort_by_key(|(number, _)| *number);
    ended.into_iter().map(|(_, answer)| answer).collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What stands behind `data:` and the one blank that may follow it; all of an event that begins with another field.
fn data(event: &str) -> &str {
    event.strip_prefix("data:").map_or(event, |data| data.strip_prefix(' ').unwrap_or(data))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

impl Answer {
    /// Sends a request and reads the whole answer.
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.expect("an answer")).await
    }

    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body to its end") }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        parse(&self.text)
    }

    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// Which provider answered.
    pub fn provider(&self) -> &str {
        self.header("x-llm-router-provider")
    }

    /// Why it was that one.
    pub fn reason(&self) -> &str {
        self.header("x-llm-router-reason")
    }

    /// What the assistant said.
    pub fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// The code of the error; empty if it has none.
    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The message of the error; empty if it has none.
    pub fn error_message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Stream {
    /// Reads a response as a stream.
    pub fn of(response: Response) -> Self {
        Self { status: response.status().as_u16(), headers: response.headers().clone(), response, buffer: Vec::new() }
    }

    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// The next event or comment line, as it stands; `None` at the end of the body, an error if the body is cut off.
    pub async fn next(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            let blank = self.buffer.iter().take_while(|byte| **byte == b'\n').count();
            self.buffer.drain(..blank);
            if self.buffer.starts_with(b":")
                && let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n')
            {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&event[..end]).into_owned()));
            }
            let Some(bytes) = self.response.chunk().await? else {
                let rest = String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// Reads up to an event with text in it.
    pub async fn first_token(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("a body").expect("an event with text");
            let Some(data) = event.strip_prefix("data: ") else { continue };
            let event = parse(data);
            let text = event["choices"][0]["delta"]["content"].as_str();
            if text.is_some_and(|text| !text.is_empty()) {
                return event;
            }
        }
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Transcript {
        let (mut events, mut comments) = (Vec::new(), 0);
        let is_complete = loop {
            match self.next().await {
                Ok(Some(event)) if event.starts_with(':') => comments += 1,
                Ok(Some(event)) => events.push(data(&event).to_owned()),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        Transcript { status: self.status, headers: self.headers, events, comments, is_complete }
    }
}

impl Transcript {
    /// A header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// Which provider answered.
    pub fn provider(&self) -> &str {
        self.header("x-llm-router-provider")
    }

    /// Whether the stream ended with `[DONE]`.
    pub fn is_done(&self) -> bool {
        self.events.last().is_some_and(|event| event == "[DONE]")
    }

    /// The events that are JSON.
    pub fn parsed(&self) -> impl Iterator<Item = Value> {
        self.events.iter().filter_map(|event| serde_json::from_str(event).ok())
    }

    /// What the assistant said.
    pub fn content(&self) -> String {
        let text = |event: Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.parsed().filter_map(text).collect()
    }

    /// The errors that came in-band.
    pub fn errors(&self) -> Vec<Value> {
        self.parsed().filter_map(|event| event.get("error").cloned()).collect()
    }

    /// The usage that came.
    pub fn usage(&self) -> Vec<Value> {
        self.parsed().filter_map(|event| event.get("usage").filter(|usage| usage.is_object()).cloned()).collect()
    }
}
