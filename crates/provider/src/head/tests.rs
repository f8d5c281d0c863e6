use super::*;

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
        (r#"{"model":"m","model":"n","messages":[{"role":"user"}]}"#, "model"),
    ];
    for (text, field) in cases {
        let (message, param) = refused(text);
        assert_eq!(param.as_deref(), Some(field), "{text}: {message}");
    }
}

#[test]
fn a_body_that_is_no_object_is_explained() {
    for text in ["", "  ", "[]", "3", "{", "{\"a\"}", "nonsense", "{} {}"] {
        let (message, param) = refused(text);
        assert_eq!(param, if text == "{} {}" { None } else { param.clone() }, "{message}");
    }
    assert!(refused("[]").0.contains("JSON object"));
    assert!(refused("{").0.contains("not valid JSON"));
    assert!(refused(&format!("{{\"a\":{}", "[".repeat(100_000))).0.contains("nested too deeply"));
}

#[test]
fn too_many_messages_are_refused() {
    let messages = vec![r#"{"role":"user","content":"x"}"#; 101].join(",");
    assert!(refused(&format!(r#"{{"model":"m","messages":[{messages}]}}"#)).0.contains("more than 100"));
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
