use super::*;

fn injected(limit: Option<(&'static str, u64)>, has_options: bool) -> Injected {
    let rules = Arc::default();
    Injected {
        rules,
        operation: Operation::Chat,
        prompt_tokens: 100,
        limit,
        has_options,
        is_repeat: false,
        restriction: None,
    }
}

fn refusal(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, message)
}

fn again(injected: &Injected, kind: ErrorKind, message: &str) -> Option<Adjustment> {
    injected.judge(refusal(kind, message)).again
}

const INVALID: ErrorKind = ErrorKind::InvalidRequest;

#[test]
fn options_that_are_refused_are_taken_back_and_remembered() {
    let added = injected(None, true);
    let message = "Unrecognized request argument supplied: stream_options";
    assert_eq!(again(&added, INVALID, message), Some(Adjustment::Without("stream_options".to_owned())));
    let now = Instant::now();
    assert!(added.rules.takes_options(now), "a refusal alone may quote what one client sent");
    Injected { restriction: Some(Restriction::NoOptions), ..added.clone() }.succeeded();
    assert!(!added.rules.takes_options(now));
    assert!(added.rules.takes_options(now + MEMORY + Duration::from_secs(1)), "it is tried anew some time");
}

#[test]
fn a_limit_that_is_too_large_is_made_to_fit() {
    let added = injected(Some(("max_tokens", 4096)), false);
    let message = "max_tokens is too large: 4096. This model supports at most 2048 completion tokens.";
    assert_eq!(again(&added, INVALID, message), Some(Adjustment::Limit(Some(2048))));
    assert_eq!(added.rules.limit(4096, Instant::now()), Some(4096), "a refusal alone may quote what one client sent");
    Injected { restriction: Some(Restriction::Limit(Some(2048))), ..added.clone() }.succeeded();
    assert_eq!(added.rules.limit(4096, Instant::now()), Some(2048));
    let message = "Unsupported parameter: 'max_tokens' is not supported with this model.";
    assert_eq!(again(&added, INVALID, message), Some(Adjustment::Limit(None)));
    Injected { restriction: Some(Restriction::Limit(None)), ..added.clone() }.succeeded();
    assert_eq!(added.rules.limit(4096, Instant::now()), None);
}

#[test]
fn a_limit_that_does_not_fit_beside_the_prompt_is_made_to() {
    let overflow = ErrorKind::ContextOverflow;
    let beyond = "max_tokens=4096 cannot be greater than max_model_len=max_total_tokens=2048. Please request fewer.";
    let added = injected(Some(("max_tokens", 4096)), false);
    assert_eq!(again(&added, overflow, beyond), Some(Adjustment::Fit(Some(1948))));
    assert_eq!(added.rules.context(Instant::now()), Some(2048));
    let beside = "This model's maximum context length is 8192 tokens. However, you requested 4096 output tokens and your \
                  prompt contains at least 4097 input tokens, for a total of at least 8193 tokens.";
    assert_eq!(again(&added, overflow, beside), Some(Adjustment::Fit(None)), "a chat takes what is left");
    let completion = Injected { operation: Operation::Completions, ..added.clone() };
    assert_eq!(again(&completion, overflow, beside), Some(Adjustment::Fit(Some(4095))));
    let prompt_alone = "This model's maximum context length is 8192 tokens. However, you requested 1 output tokens and \
                        your prompt contains at least 8192 input tokens.";
    assert_eq!(again(&added, overflow, prompt_alone), None, "the prompt is too long by itself");
}

#[test]
fn what_the_client_sent_itself_is_its_own() {
    let own = injected(None, false);
    for message in ["stream_options is unknown", "max_tokens is too large: 4096. At most 2048."] {
        let error = own.judge(refusal(INVALID, message));
        assert_eq!((error.kind, error.again, error.message.as_str()), (INVALID, None, message));
    }
    let added = injected(Some(("max_tokens", 4096)), true);
    for message in ["temperature must be at most 2", "max_tokens_total is unknown", "my_stream_options"] {
        assert_eq!(again(&added, INVALID, message), None, "{message}");
    }
    assert_eq!(again(&added, ErrorKind::Unavailable, "stream_options broke the server"), None);
}

#[test]
fn a_client_never_reads_of_what_it_did_not_send() {
    let repeat = Injected { is_repeat: true, ..injected(Some(("max_tokens", 64)), false) };
    let error = repeat.judge(refusal(INVALID, "max_tokens is too large: 64. At most 32."));
    assert_eq!((error.kind, &error.again), (ErrorKind::Refused, &None));
    assert!(!error.message.contains("max_tokens"), "{error}");
}

/// As vLLM quotes them.
#[test]
fn what_one_client_wrote_changes_nothing_for_others() {
    let added = injected(Some(("max_tokens", 4096)), true);
    let quoted = |input: &str| format!("1 validation error:\n {{'type': 'int_parsing', 'input': {input}}}");
    for input in ["'max_tokens'", "'stream_options'", "'include_usage'", "{'max_tokens': 4096, 'stream_options': {}}"] {
        for param in [None, Some("seed".to_owned())] {
            let error = added.judge(Error { param, ..refusal(INVALID, &quoted(input)) });
            assert_eq!((error.kind, &error.again, error.message.as_str()), (INVALID, &None, quoted(input).as_str()));
        }
    }
    let error = Error { param: Some("seed".to_owned()), ..refusal(INVALID, "max_tokens is no whole number") };
    assert_eq!(added.judge(error).again, None, "it is said of another field");
    for message in [quoted("'maximum context length is 1000 tokens 4096'"), quoted("'max_model_len 1000 4096'")] {
        added.judge(refusal(ErrorKind::ContextOverflow, &message));
        assert_eq!(added.rules.context(Instant::now()), None, "{message}");
    }
}
