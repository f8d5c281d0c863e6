use crate::{
    Features, Head, InvalidRequest, Limits, Operation,
    head::{input_field, parse},
};

const WITH_INPUT: [Operation; 3] = [Operation::Chat, Operation::Completions, Operation::Embeddings];

/// The head of a request for `operation` with an ordinary input and `more` behind it.
fn read(operation: Operation, more: &str) -> Result<Head, InvalidRequest> {
    let input = if operation == Operation::Chat { r#"[{"role":"user","content":"x"}]"# } else { r#""x""# };
    let text = format!(r#"{{"model":"m","{}":{input},{more}}}"#, input_field(operation).expect("an input"));
    parse(operation, &text, Limits { max_messages: 100 }).map(|(head, _)| head)
}

fn chat(more: &str) -> Head {
    read(Operation::Chat, more).expect(more)
}

#[test]
fn a_field_takes_values_within_its_bounds_and_its_error_names_them() {
    let penalties = (&["-2", "-0.5", "0", "2", "null"], &["-2.1", "2.1", r#""1""#], "must be a number from -2 to 2");
    let cases: [(&str, &[&str], &[&str], &str); 10] = [
        (
            "max_tokens",
            &["0", "4294967295"],
            &["-1", "4294967296", "1.5"],
            "must be a whole number from 0 to 4294967295",
        ),
        ("n", &["1", "128", "null"], &["0", "129", r#""2""#, "true"], "must be a whole number from 1 to 128"),
        ("best_of", &["0", "20", "null"], &["21", "-1", "[]"], "must be a whole number from 0 to 20"),
        ("top_logprobs", &["0", "20", "null"], &["21", "-1", "true"], "must be a whole number from 0 to 20"),
        (
            "logprobs",
            &["0", "20", "true", "null"],
            &["21", "0.5", "{}"],
            "must be true, false or a whole number from 0 to 20",
        ),
        ("temperature", &["0", "2", "1e-3", "null"], &["-0.1", "2.1", "{}"], "must be a number from 0 to 2"),
        ("top_p", &["0", "1", "null"], &["-0.1", "1.1", "true"], "must be a number from 0 to 1"),
        ("presence_penalty", penalties.0, penalties.1, penalties.2),
        ("frequency_penalty", penalties.0, penalties.1, penalties.2),
        ("stream", &["true", "false", "null"], &["1", r#""true""#, "{}"], "must be true or false"),
    ];
    for (field, right, wrong, bounds) in cases {
        for value in right {
            chat(&format!(r#""{field}":{value}"#));
        }
        for value in wrong {
            let error = read(Operation::Chat, &format!(r#""{field}":{value}"#)).expect_err(value);
            let expected = InvalidRequest::field(field, format!("'{field}' {bounds}"));
            assert_eq!(error, expected, "{field}: {value}");
        }
    }
}

#[test]
fn null_is_as_if_the_field_were_left_out() {
    let plain = chat(r#""user":"u""#);
    for field in [
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "best_of",
        "top_logprobs",
        "logprobs",
        "stop",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "tools",
        "response_format",
    ] {
        assert_eq!(chat(&format!(r#""{field}":null"#)), plain, "{field}");
    }
}

#[test]
fn the_input_of_another_operation_is_passed_over_unread() {
    for operation in WITH_INPUT {
        let field = input_field(operation).expect("an input");
        for other in WITH_INPUT.into_iter().filter_map(input_field).filter(|other| *other != field) {
            for value in ["7", "[]", "{}", r#"["x","y"]"#] {
                let head = read(operation, &format!(r#""{other}":{value}"#)).expect(other);
                assert_eq!(head.prompts, 1, "{operation:?} with {other}: {value}");
            }
            let text = format!(r#"{{"model":"m","{other}":"x"}}"#);
            let error = parse(operation, &text, Limits { max_messages: 100 }).expect_err(other);
            assert_eq!(error, InvalidRequest::field(field, format!("'{field}' is required")));
        }
    }
}

#[test]
fn the_newer_name_of_the_limit_wins_in_either_order() {
    for (more, expected) in [
        (r#""max_tokens":5"#, Some(5)),
        (r#""max_completion_tokens":7"#, Some(7)),
        (r#""max_tokens":5,"max_completion_tokens":7"#, Some(7)),
        (r#""max_completion_tokens":7,"max_tokens":5"#, Some(7)),
        (r#""max_tokens":5,"max_completion_tokens":null"#, Some(5)),
        (r#""max_completion_tokens":null,"max_tokens":5"#, Some(5)),
        (r#""max_tokens":null"#, None),
    ] {
        assert_eq!(chat(more).max_tokens, expected, "{more}");
    }
}

#[test]
fn usage_is_included_only_where_its_own_option_says_so() {
    for (options, expected) in [
        ("null", false),
        ("{}", false),
        (r#"{"include_usage":true}"#, true),
        (r#"{"include_usage":false}"#, false),
        (r#"{"include_usage":null}"#, false),
        (r#"{"continuous_usage_stats":true}"#, false),
        (r#"{"include_usage":true,"continuous_usage_stats":false,"later":null,"more":7}"#, true),
    ] {
        assert_eq!(chat(&format!(r#""stream_options":{options}"#)).include_usage, expected, "{options}");
    }
    for (options, message) in [
        ("true", "'stream_options' must be an object such as {\"include_usage\": true}"),
        (r#"{"include_usage":1}"#, "'stream_options.include_usage' must be true or false"),
    ] {
        let error = read(Operation::Chat, &format!(r#""stream_options":{options}"#)).expect_err(options);
        assert_eq!(error, InvalidRequest::field("stream_options", message));
    }
}

#[test]
fn only_a_schema_for_the_answer_needs_an_upstream_that_takes_one() {
    let needed = |format: &str| chat(&format!(r#""response_format":{format}"#)).features;
    let schema = Features { json_schema: true, ..Features::default() };
    for (format, expected) in [
        (r#"{"type":"json_schema","json_schema":{"type":"object"}}"#, schema),
        (r#"{"json_schema":{"type":"object"},"type":"json_schema"}"#, schema),
        (r#"{"type":"json_object"}"#, Features::default()),
        (r#"{"name":"json_schema","type":"text"}"#, Features::default()),
    ] {
        assert_eq!(needed(format), expected, "{format}");
    }
    for wrong in ["7", "{}", "[]", r#""json_schema""#, r#"{"type":1}"#, r#"{"name":"json_schema"}"#] {
        let error = read(Operation::Chat, &format!(r#""response_format":{wrong}"#)).expect_err(wrong);
        let message = "'response_format' must be an object with a 'type' such as \"json_object\"";
        assert_eq!(error, InvalidRequest::field("response_format", message), "{wrong}");
    }
}

#[test]
fn a_chat_with_tools_needs_an_upstream_that_calls_them() {
    assert!(chat(r#""tools":[{"type":"function"}]"#).features.tools);
    for wrong in ["[]", "{}", r#""x""#, "true"] {
        let error = read(Operation::Chat, &format!(r#""tools":{wrong}"#)).expect_err(wrong);
        let message = "'tools' must be a non-empty array: leave it out if there are none";
        assert_eq!(error, InvalidRequest::field("tools", message), "{wrong}");
    }
}
