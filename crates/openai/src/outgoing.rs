//! The changes to a request's body that every upstream needs: the model's name, usage in streams, a token limit.

use std::sync::Arc;

use bytes::Bytes;
use offload::long_work;
use provider::{Adjustment, Call, Error, LONG_BODY, Object, Operation, ReplyHead, Request, Rewrite, limit_within};
use tokio::time::Instant;

use crate::injected::{Injected, Restriction, Rules, STREAM_OPTIONS};

/// How an upstream names and limits what it serves.
#[derive(Debug, Clone)]
pub struct Served {
    model: String,
    model_json: String,
    default_max_tokens: Option<u64>,
    chat_limit_field: &'static str,
    plain_stream_options: bool,
    context_tokens: Option<u64>,
    stores_metadata: bool,
    rules: Arc<Rules>,
}

impl Served {
    /// Serves `model`. Where the client names no token limit, `default_max_tokens` is sent, in a chat as `chat_limit_field`.
    pub fn new(model: &str, default_max_tokens: Option<u64>, chat_limit_field: &'static str) -> Self {
        let model_json = serde_json::Value::from(model).to_string();
        Self {
            model: model.to_owned(),
            model_json,
            default_max_tokens,
            chat_limit_field,
            plain_stream_options: false,
            context_tokens: None,
            stores_metadata: false,
            rules: Arc::default(),
        }
    }

    /// Sends no stream option but `include_usage`, for an upstream that refuses what it does not know.
    #[must_use]
    pub fn with_plain_stream_options(self) -> Self {
        Self { plain_stream_options: true, ..self }
    }

    /// Adds no limit that does not fit into a context of so many tokens beside the prompt.
    #[must_use]
    pub fn with_context(self, tokens: Option<u64>) -> Self {
        Self { context_tokens: tokens, ..self }
    }

    /// Sends `metadata` with chats alone that are to be stored, for an upstream that refuses it with others.
    #[must_use]
    pub fn with_metadata_of_stored_chats(self) -> Self {
        Self { stores_metadata: true, ..self }
    }

    /// The limit to add to a request whose prompt has about so many tokens.
    fn limit(&self, call: &Call, prompt_tokens: u64, now: Instant) -> Option<u64> {
        if let Some(Adjustment::Limit(limit) | Adjustment::Fit(limit)) = call.adjustment {
            return limit;
        }
        let limit = self.rules.limit(self.default_max_tokens?, now)?;
        let context = self.rules.context(now).or(self.context_tokens);
        Some(limit_within(limit, context, prompt_tokens))
    }
}

/// A request on its way out.
pub struct Outgoing<'a> {
    /// The changes to the client's body.
    pub rewrite: Rewrite<'a>,
    /// The head of the reply, which names them.
    pub head: ReplyHead,
    /// The content type and the body in place of the rewrite, if the body is a form.
    form: Option<(String, Bytes)>,
    injected: Injected,
}

impl<'a> Outgoing<'a> {
    /// Starts the rewrite of `request` for an upstream.
    ///
    /// Usage is always asked for, because a stream without it cannot be priced; [`crate::Client::send`] hides it again
    /// from a client that did not ask. A limit is always sent, because providers' defaults differ and surprise (16
    /// tokens in one case, the rest of the context in another). What the upstream has refused of this lately is left
    /// out.
    pub fn new(request: &'a Request, served: &'a Served, call: &Call) -> Self {
        let mut outgoing = Self {
            rewrite: request.rewrite(),
            head: ReplyHead::default(),
            form: None,
            injected: Injected {
                rules: served.rules.clone(),
                operation: request.operation,
                prompt_tokens: request.estimated_prompt_tokens(),
                limit: None,
                has_options: false,
                is_repeat: !matches!(call.adjustment, None | Some(Adjustment::FreshConnection)),
                restriction: None,
            },
        };
        outgoing.form = request.form_for(&served.model);
        if outgoing.form.is_some() {
            return outgoing;
        }
        let now = Instant::now();
        outgoing.rewrite.set("model", served.model_json.as_str());
        if request.operation.is_passthrough() {
            return outgoing;
        }
        outgoing.options(request, served, call, now);
        outgoing.limit(request, served, call, now);
        if served.stores_metadata && request.field("store") != Some("true") {
            outgoing.rewrite.remove("metadata");
        }
        outgoing
    }

    /// The body to send, and what was added to it.
    pub fn finish(self) -> Finished {
        let Self { rewrite, head, form, injected } = self;
        let (content_type, body) = match form {
            Some((content_type, body)) => (Some(content_type), body),
            None => (None, rewrite.finish()),
        };
        Finished { body, content_type, head, injected }
    }

    fn options(&mut self, request: &'a Request, served: &Served, call: &Call, now: Instant) {
        let client_sent = request.field(STREAM_OPTIONS).is_some_and(|options| options != "null");
        let is_without = matches!(&call.adjustment, Some(Adjustment::Without(field)) if field == STREAM_OPTIONS);
        let is_refused = is_without || !served.rules.takes_options(now);
        if is_without && !client_sent {
            self.injected.restriction = Some(Restriction::NoOptions);
        }
        if !request.head.stream {
            // Empty options without a stream mean nothing, and yet a real vLLM refuses them.
            self.rewrite.remove(STREAM_OPTIONS);
        } else if is_refused && !client_sent {
            self.rewrite.remove(STREAM_OPTIONS);
        } else if served.plain_stream_options {
            self.rewrite.set(STREAM_OPTIONS, r#"{"include_usage":true}"#);
            self.injected.has_options = !client_sent;
        } else if !request.head.include_usage && !is_refused {
            self.rewrite.set(STREAM_OPTIONS, with_usage(request.field(STREAM_OPTIONS)));
            self.injected.has_options = !client_sent;
        }
    }

    fn limit(&mut self, request: &'a Request, served: &Served, call: &Call, now: Instant) {
        let field = match request.operation {
            Operation::Chat => served.chat_limit_field,
            Operation::Completions => "max_tokens",
            Operation::Embeddings
            | Operation::Rerank
            | Operation::Score
            | Operation::Transcriptions
            | Operation::Tokenize
            | Operation::Detokenize => return,
        };
        if request.head.max_tokens.is_some() {
            if request.operation == Operation::Completions {
                self.newer_limit(request);
            }
            return;
        }
        // A limit of null is as if there were none, and would be sent beside the one that is added.
        self.rewrite.remove("max_tokens").remove("max_completion_tokens");
        if let Some(Adjustment::Limit(most)) = call.adjustment {
            self.injected.restriction = Some(Restriction::Limit(most));
        }
        let Some(limit) = served.limit(call, self.injected.prompt_tokens, now) else { return };
        self.rewrite.set(field, limit.to_string());
        self.head.injected_params.push(format!("{field}={limit}"));
        self.injected.limit = Some((field, limit));
    }

    /// Sends a text completion's limit under the only name that servers know there.
    fn newer_limit(&mut self, request: &'a Request) {
        let given = |name| request.field(name).filter(|value| *value != "null");
        if let Some(limit) = given("max_completion_tokens") {
            self.rewrite.remove("max_completion_tokens").set("max_tokens", limit);
        }
    }
}

/// A request that is ready to be sent.
pub struct Finished {
    pub(crate) body: Bytes,
    /// That of the body, if it is not JSON.
    pub(crate) content_type: Option<String>,
    pub(crate) head: ReplyHead,
    pub(crate) injected: Injected,
}

/// Has `make` rewrite `request`, away from this thread if the request is long. The body that is sent is counted in the memory
/// budget until it is.
///
/// # Errors
/// If there is no memory for it, or as `make` does.
pub async fn rewritten(
    request: &Request,
    call: &Call,
    make: impl FnOnce(&Request, &Call) -> Result<Finished, Error> + Send + 'static,
) -> Result<Finished, Error> {
    let length = request.body_bytes();
    let reservation = call.memory.reserve(length)?;
    let (mut reservation, outcome) = if length <= LONG_BODY {
        let outcome = make(request, call);
        (reservation, outcome)
    } else {
        let (request, call) = (request.clone(), call.clone());
        long_work(length, move || (reservation, make(&request, &call))).await
    };
    let mut finished = outcome?;
    reservation.resize(finished.body.len())?;
    finished.body = reservation.attach(finished.body);
    Ok(finished)
}

/// The client's stream options with usage switched on.
fn with_usage(options: Option<&str>) -> String {
    let text = options.filter(|text| text.starts_with('{')).unwrap_or("{}");
    let Ok(object) = Object::parse(text) else { return r#"{"include_usage":true}"#.to_owned() };
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.set("include_usage", "true");
    String::from_utf8_lossy(&rewrite.finish()).into_owned()
}

#[cfg(test)]
mod tests;
