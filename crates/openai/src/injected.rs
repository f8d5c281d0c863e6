//! The fields that the router adds to a request. If an upstream refuses one, it is left out or made to fit, the call is
//! repeated once, and the upstream's rule is remembered for a while. The client did not send the field, and never gets
//! an error about it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use provider::{Adjustment, Error, ErrorKind, Operation};
use tokio::time::Instant;

/// How long an upstream's rule is kept before it is tried anew.
const MEMORY: Duration = Duration::from_mins(10);
/// Fewest tokens that are worth asking for.
const LEAST_LIMIT: u64 = 16;
/// The option that asks for usage in streams.
pub(crate) const STREAM_OPTIONS: &str = "stream_options";

/// What an upstream has refused of what the router adds. Shared by all calls to it.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    /// It takes no stream options, until then.
    no_options_until: Option<Instant>,
    /// It takes limits up to this one, none at all if it is `None`, until then.
    limit: Option<(Option<u64>, Instant)>,
    /// Its context in tokens, until then.
    context: Option<(u64, Instant)>,
}

impl Rules {
    /// Whether the upstream takes stream options, as far as is known.
    pub(crate) fn takes_options(&self, now: Instant) -> bool {
        self.learned.lock().no_options_until.is_none_or(|until| until <= now)
    }

    /// The token limit to add where `default` is the configured one; `None` if none may be added.
    pub(crate) fn limit(&self, default: u64, now: Instant) -> Option<u64> {
        match self.learned.lock().limit.filter(|(_, until)| now < *until) {
            Some((most, _)) => most.map(|most| most.min(default)),
            None => Some(default),
        }
    }

    /// The context in tokens, if the upstream has named it lately.
    pub(crate) fn context(&self, now: Instant) -> Option<u64> {
        self.learned.lock().context.filter(|(_, until)| now < *until).map(|(tokens, _)| tokens)
    }
}

/// What the upstream does not accept. Recorded once a call that observes it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restriction {
    NoOptions,
    /// The largest limit that it takes; `None` if it takes none.
    Limit(Option<u64>),
}

/// What was added to one request, and the rules of its upstream.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    pub(crate) rules: Arc<Rules>,
    pub(crate) operation: Operation,
    /// The tokens of the prompt, by its size.
    pub(crate) prompt_tokens: u64,
    /// The limit, by the name under which it was sent.
    pub(crate) limit: Option<(&'static str, u64)>,
    /// Whether stream options were added where the client sent none.
    pub(crate) has_options: bool,
    /// Whether what is added was changed already because the upstream refused it.
    pub(crate) is_repeat: bool,
    /// The restriction to record if this call succeeds. A refusal alone is not recorded for other calls: it may quote what
    /// one client sent.
    pub(crate) restriction: Option<Restriction>,
}

impl Injected {
    /// The upstream answers.
    pub(crate) fn succeeded(&mut self) {
        let Some(restriction) = self.restriction.take() else { return };
        let until = Instant::now() + MEMORY;
        let mut learned = self.rules.learned.lock();
        match restriction {
            Restriction::NoOptions => learned.no_options_until = Some(until),
            Restriction::Limit(most) => learned.limit = Some((most, until)),
        }
    }

    /// Decides what a refusal means that may be about what was added: a repeat without it, or an error that does not mention
    /// it. Any other error is returned as it is.
    pub(crate) fn judge(&self, error: Error) -> Error {
        let is_refusal = matches!(
            error.kind,
            ErrorKind::InvalidRequest | ErrorKind::ContextOverflow | ErrorKind::Unsupported | ErrorKind::Refused
        );
        if !is_refusal {
            return error;
        }
        if self.has_options && (blames(&error, STREAM_OPTIONS) || blames(&error, "include_usage")) {
            return self.repeated(error, Adjustment::Without(STREAM_OPTIONS.to_owned()));
        }
        let Some((field, limit)) = self.limit else { return error };
        let numbers = numbers(&error.message);
        if error.kind == ErrorKind::ContextOverflow {
            // Where the limit is not among the figures, the prompt alone is too long.
            return if numbers.contains(&limit) { self.overflowed(error, (field, limit), &numbers) } else { error };
        }
        // A refusal of the older name may mention the newer one.
        let is_about_it = blames(&error, field) || (field == "max_tokens" && blames(&error, "max_completion_tokens"));
        if !is_about_it {
            return error;
        }
        let most = numbers.into_iter().filter(|number| (LEAST_LIMIT..limit).contains(number)).max();
        self.repeated(error, Adjustment::Limit(most))
    }

    /// The prompt and the added limit together are longer than the context.
    fn overflowed(&self, error: Error, (field, limit): (&str, u64), numbers: &[u64]) -> Error {
        // Only at the start of the message: behind it may stand what a client sent.
        let beyond = format!("{field}={limit} cannot be greater than max_model_len");
        let named = ["This model's maximum context length is", &beyond].into_iter();
        let context = named.filter_map(|words| error.message.strip_prefix(words)).find_map(first_number);
        let Some(context) = context.filter(|context| *context > LEAST_LIMIT) else {
            return self.repeated(error, Adjustment::Fit(None));
        };
        self.rules.learned.lock().context = Some((context, Instant::now() + MEMORY));
        // vLLM counts only as far as it must, so the prompt has at least as many tokens as it names.
        let counted = numbers.iter().filter(|number| **number < context && **number != limit).max().copied();
        let prompt = self.prompt_tokens.max(counted.unwrap_or_default());
        let rest = context.saturating_sub(prompt);
        // A chat without a limit may use the rest of the context, whatever the prompt really takes.
        let fits = (self.operation == Operation::Completions || context <= limit) && rest >= LEAST_LIMIT;
        self.repeated(error, Adjustment::Fit(fits.then_some(rest.min(limit - 1))))
    }

    /// A refusal that does not mention what was added, in case the call is not repeated.
    fn repeated(&self, error: Error, adjustment: Adjustment) -> Error {
        let message = "the upstream refuses what the router adds to requests";
        let again = (!self.is_repeat).then_some(adjustment);
        Error { again, ids: error.ids, ..Error::new(ErrorKind::Refused, message) }
    }
}

/// Whether `error` is about the field `name`: as the field to blame or, where it blames none, as a whole word of the message.
fn blames(error: &Error, name: &str) -> bool {
    if let Some(param) = &error.param {
        return param.split(['.', '[']).any(|part| part == name);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let said = before_input(&error.message);
    said.match_indices(name)
        .any(|(at, _)| !said[..at].ends_with(is_part) && !said[at + name.len()..].starts_with(is_part))
}

/// A message up to where a validator such as pydantic's quotes the input.
fn before_input(message: &str) -> &str {
    let quotes = ["'input'", "\"input\"", "input_value"].into_iter().filter_map(|word| message.find(word));
    &message[..quotes.min().unwrap_or(message.len())]
}

fn first_number(text: &str) -> Option<u64> {
    numbers(text).first().copied()
}

/// The whole numbers in a text, in order.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit() && c != ',')
        .filter_map(|figure| figure.trim_matches(',').replace(',', "").parse().ok())
        .collect()
}

#[cfg(test)]
mod tests;
