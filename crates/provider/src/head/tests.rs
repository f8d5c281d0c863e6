use super::*;
use crate::{growth, json::steps};

const LIMITS: Limits = Limits { max_messages: 100 };

fn chat(text: &str) -> Result<Head, InvalidRequest> {
    parse(Operation::Chat, text, LIMITS).map(|(head, _)| head)
}

fn refused(text: &str) -> (String, Option<String>) {
    let error = chat(text).expect_err(text);
    (error.message, error.param)
}

#[test]
fn the_head_holds_what_routing_reads() {
    let text = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1},"max_tokens":5,"max_completion_tokens":7,
        "n":2,"tools":[{}],"messages":[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"image_url"}]}],"unknown":{"a":[1]}}"#;
    let head = chat(text).expect("valid");
    assert_eq!(
        (head.model.as_str(), head.stream, head.include_usage, head.max_tokens, head.choices()),
        ("m", true, true, Some(7), 2)
    );
    assert_eq!(head.features, Features { tools: true, images: true, json_schema: false });
    assert!(head.has_special_messages && !head.has_media);
}

#[test]
fn a_plain_request_asks_for_one_answer_and_needs_nothing() {
    let plain = Head { model: "m".to_owned(), n: 1, best_of: 1, prompts: 1, ..Head::default() };
    let head = chat(r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#).expect("valid");
    assert_eq!((head.choices(), head.computed_choices()), (1, 1));
    assert_eq!(head, Head { opening: Some(25..54), ..plain.clone() });
    for (operation, text) in [
        (Operation::Completions, r#"{"model":"m","prompt":"x"}"#),
        (Operation::Embeddings, r#"{"model":"m","input":"x"}"#),
    ] {
        assert_eq!(parse(operation, text, LIMITS).expect("valid").0, plain, "{operation:?}");
    }
}

#[test]
fn an_upstream_serves_only_what_all_its_features_cover() {
    let [none, all] = [false, true].map(|has| Features { tools: has, images: has, json_schema: has });
    assert!(none.cover(none) && all.cover(none) && all.cover(all));
    for one in
        [Features { tools: true, ..none }, Features { images: true, ..none }, Features { json_schema: true, ..none }]
    {
        assert!(one.cover(one) && one.cover(none) && all.cover(one), "{one:?}");
        assert!(!none.cover(one) && !one.cover(all), "{one:?}");
    }
    for lacking in
        [Features { tools: false, ..all }, Features { images: false, ..all }, Features { json_schema: false, ..all }]
    {
        assert!(!lacking.cover(all) && lacking.cover(none), "{lacking:?}");
    }
}

#[test]
fn every_mistake_names_its_field() {
    let cases = [
        (r#"{"model":1,"messages":[{"role":"user","content":""}]}"#, "model"),
        (r#"{"messages":[{"role":"user","content":""}]}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
        (r#"{"model":"m","messages":[]}"#, "messages"),
        (r#"{"model":"m","messages":"hi"}"#, "messages"),
        (r#"{"model":"m","messages":[{"role":"robot","content":""}]}"#, "messages[0].role"),
        (r#"{"model":"m","messages":[{"content":""}]}"#, "messages[0].role"),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
        (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":-1}"#, "max_tokens"),
        (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":"5"}"#, "max_tokens"),
        (r#"{"model":"m","messages":[{"role":"user"}],"n":1000000}"#, "n"),
        (r#"{"model":"m","messages":[{"role":"user"}],"temperature":99}"#, "temperature"),
        (r#"{"model":"m","messages":[{"role":"user"}],"temperature":"1"}"#, "temperature"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stream":"yes"}"#, "stream"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stream_options":{"include_usage":3}}"#, "stream_options"),
        (r#"{"model":"m","messages":[{"role":"user"}],"tools":[]}"#, "tools"),
        (r#"{"model":"m","messages":[{"role":"user"}],"logprobs":21}"#, "logprobs"),
        (r#"{"model":"m","messages":[{"role":"user"}],"logprobs":"yes"}"#, "logprobs"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stop":7}"#, "stop"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stop":["x",7]}"#, "stop"),
        (r#"{"model":"m","model":"n","messages":[{"role":"user"}]}"#, "model"),
    ];
    for (text, field) in cases {
        let (message, param) = refused(text);
        assert_eq!(param.as_deref(), Some(field), "{text}: {message}");
    }
}

#[test]
fn texts_to_stop_at_are_bounded() {
    let with = |stop: &str| format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"stop":{stop}}}"#);
    let texts = |count: usize| with(&format!("[{}]", vec![r#""x""#; count].join(",")));
    for right in [with("null"), with(r#""x""#), with("[]"), texts(64)] {
        chat(&right).expect(&right);
    }
    assert_eq!(refused(&texts(65)).1.as_deref(), Some("stop"));
}

#[test]
fn a_body_that_is_no_object_is_explained() {
    for text in ["", "  ", "[]", "3", "{", "{\"a\"}", "nonsense", "{} {}"] {
        let (message, param) = refused(text);
        assert_eq!(param, if text == "{} {}" { None } else { param.clone() }, "{message}");
    }
    assert!(refused("[]").0.contains("JSON object"));
    assert!(refused("{").0.contains("not valid JSON"));
    let deep = "the body is nested too deeply: at most 128 levels of arrays and objects are accepted";
    assert_eq!(refused(&format!("{{\"a\":{}", "[".repeat(100_000))), (deep.to_owned(), None));
}

#[test]
fn there_may_be_so_many_messages_and_not_one_more() {
    let messages = |count: usize| {
        let messages = vec![r#"{"role":"user","content":"x"}"#; count].join(",");
        format!(r#"{{"model":"m","messages":[{messages}]}}"#)
    };
    assert!(chat(&messages(100)).is_ok());
    let (message, param) = refused(&messages(101));
    assert_eq!(param.as_deref(), Some("messages"));
    assert!(message.contains("more than 100"), "{message}");
}

#[test]
fn what_appears_twice_is_refused_at_every_depth() {
    let twice = |text: &str| {
        let (message, param) = refused(text);
        assert!(message.contains("appears twice: send it once"), "{text}: {message}");
        (message, param.expect("a field"))
    };
    let with = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{more}}}"#);
    for (text, param) in [
        (with(r#""x":1,"x":1"#), "x"),
        (with(r#""x":1,"\u0078":1"#), "x"),
        (with(r#""x":1,"y":1,"x":1"#), "x"),
        (with(r#""stream_options":{"include_usage":true,"include_usage":false}"#), "stream_options"),
        (with(r#""response_format":{"type":"text","type":"json_object"}"#), "response_format"),
        (with(r#""response_format":{"type":"json_schema","json_schema":{"schema":{"a":1,"a":1}}}"#), "response_format"),
        (with(r#""tools":[{"type":"function","function":{"name":"a","name":"b"}}]"#), "tools"),
        (with(r#""unknown":[[{"a":{"b":1,"b":1}}]]"#), "unknown"),
        (r#"{"model":"m","messages":[{"role":"user","role":"system","content":"x"}]}"#.to_owned(), "messages"),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","type":"file"}]}]}"#.to_owned(),
            "messages",
        ),
    ] {
        assert_eq!(twice(&text).1, param, "{text}");
    }
    assert_eq!(twice(&with(r#""x":1,"y":1,"x":1"#)).0, "'x' appears twice: send it once");
    assert!(twice(&with(r#""tools":[{"type":1,"type":1}]"#)).0.contains("'type' within 'tools'"));
    let long = "k".repeat(10_000);
    assert!(twice(&with(&format!(r#""{long}":{{"{long}":1,"{long}":1}}"#))).0.len() < 300);
}

#[test]
fn the_number_of_fields_is_bounded() {
    let fields = |count: usize| {
        let more: Vec<_> = (2..count).map(|at| format!(r#""x{at}":0"#)).collect();
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{}}}"#, more.join(","))
    };
    assert!(chat(&fields(256)).is_ok());
    let (message, param) = refused(&fields(257));
    assert_eq!((message.as_str(), param), ("the body has more than 256 fields: send fewer", None));
    let keys: Vec<_> = (0..20_000).map(|at| format!(r#""{at}":0"#)).collect();
    let (message, param) = refused(&format!(r#"{{"model":"m","logit_bias":{{{}}}}}"#, keys.join(",")));
    assert_eq!(param.as_deref(), Some("logit_bias"));
    assert!(message.contains("more than 16384 fields"), "{message}");
}

#[test]
fn inputs_and_answers_are_bounded() {
    let list = |count: usize, element: &str| format!("[{}]", vec![element; count].join(","));
    let read = |operation, field: &str, input: &str, more: &str| {
        parse(operation, &format!(r#"{{"model":"m","{field}":{input}{more}}}"#), LIMITS).map(|(head, _)| head)
    };
    for (operation, field) in [(Operation::Completions, "prompt"), (Operation::Embeddings, "input")] {
        for element in [r#""x""#, "[1,2]"] {
            assert!(read(operation, field, &list(2_048, element), "").is_ok());
            let error = read(operation, field, &list(2_049, element), "").expect_err("too many");
            assert_eq!((error.param.as_deref(), error.message.contains("more than 2048 entries")), (Some(field), true));
        }
        assert_eq!(read(operation, field, &list(1 << 20, "1"), "").expect("one prompt").prompts, 1);
        for tokens in [list((1 << 20) + 1, "1"), list(2_000, &list(600, "1"))] {
            let error = read(operation, field, &tokens, "").expect_err("too many");
            assert_eq!(
                (error.param.as_deref(), error.message.contains("more than 1048576 tokens")),
                (Some(field), true)
            );
        }
    }
    let prompts = |count: usize, more: &str| read(Operation::Completions, "prompt", &list(count, r#""x""#), more);
    let head = prompts(16, r#","n":2,"best_of":20"#).expect("few");
    assert_eq!((head.choices(), head.computed_choices()), (32, 320));
    assert_eq!(prompts(16, r#","n":128"#).expect("as many as there may be").computed_choices(), 2_048);
    for (count, more, field) in [(17, r#","n":128"#, "n"), (103, r#","best_of":20"#, "best_of")] {
        let error = prompts(count, more).expect_err("too many");
        assert_eq!((error.param.as_deref(), error.message.contains("split the request")), (Some(field), true));
    }
}

#[path = "../../tests/support/chats.rs"]
mod chats;

#[test]
fn reading_is_linear_in_the_body() {
    let limits = Limits { max_messages: usize::MAX };
    growth::are_linear(chats::CHATS, steps::taken, |text| drop(parse(Operation::Chat, text, limits)));
}

#[test]
fn completions_and_embeddings_have_their_own_input() {
    assert!(parse(Operation::Completions, r#"{"model":"m","prompt":"x"}"#, LIMITS).is_ok());
    assert!(parse(Operation::Embeddings, r#"{"model":"m","input":["x"]}"#, LIMITS).is_ok());
    assert!(parse(Operation::Embeddings, r#"{"model":"m","input":[]}"#, LIMITS).is_err());
    let streamed = r#"{"model":"m","input":"x","stream":true,"stream_options":{"include_usage":true}}"#;
    assert!(!parse(Operation::Embeddings, streamed, LIMITS).expect("valid").0.stream, "there is nothing to stream");
    assert!(parse(Operation::Completions, r#"{"model":"m","messages":[]}"#, LIMITS).is_err());
}

#[test]
fn what_is_legal_and_odd_is_let_in() {
    for text in [
        r#"{"model":"m","messages":[{"role":"user","content":"a \ud83d b"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a \ud83d b"}]}],"user":"\ud83d"}"#,
        r#"{"model":"m","messages":[{"role":"user","c\u006fntent":"x"}],"st\u0072eam":true}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[]}],"n":null,"max_tokens":0,"stop":"\ud83d"}"#,
        r#"{"model":"m","messages":[{"role":"user"}],"stream":false,"stream_options":{"include_usage":true}}"#,
    ] {
        assert!(chat(text).is_ok(), "{text}: {:?}", chat(text));
    }
    let escaped = r#"{"m\u006fdel":"m","messages":[{"role":"\u0075ser","content":"x"}],"st\u0072eam":true}"#;
    let head = chat(escaped).expect("the same meaning");
    assert!(head.stream && head.model == "m" && head.has_special_messages);
    let echo = r#"{"model":"m","prompt":"x","max_tokens":0,"echo":true,"logprobs":1,"best_of":0}"#;
    assert!(parse(Operation::Completions, echo, LIMITS).is_ok());
}

#[test]
fn media_and_prompts_are_counted() {
    let part = |kind: &str| {
        let text = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"{kind}"}}]}}]}}"#);
        let head = chat(&text).expect("valid");
        (head.features.images, head.has_media)
    };
    assert_eq!((part("text"), part("image_url")), ((false, false), (true, false)));
    for kind in ["input_audio", "audio_url", "video_url", "file", "hologram"] {
        assert_eq!(part(kind), (false, true), "{kind}");
    }
    let prompts = |prompt: &str| {
        let text = format!(r#"{{"model":"m","prompt":{prompt},"n":2}}"#);
        parse(Operation::Completions, &text, LIMITS).expect("valid").0.choices()
    };
    assert_eq!([r#""x""#, r#"["x","y","z"]"#, "[1,2,3]", "[[1,2],[3]]"].map(prompts), [2, 6, 2, 4]);
}
