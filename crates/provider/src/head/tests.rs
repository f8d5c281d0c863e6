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
        (head.model.as_str(), head.stream, head.include_usage, head.max_tokens, head.choices),
        ("m", true, true, Some(7), 2)
    );
    assert_eq!(head.features, Features { tools: true, images: true, json_schema: false });
    let [Nested::DeveloperRole(range)] = &head.nested[..] else { panic!("{:?}", head.nested) };
    assert_eq!(&text[range.clone()], "developer");
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
        (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":0}"#, "max_tokens"),
        (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":"5"}"#, "max_tokens"),
        (r#"{"model":"m","messages":[{"role":"user"}],"n":1000000}"#, "n"),
        (r#"{"model":"m","messages":[{"role":"user"}],"temperature":99}"#, "temperature"),
        (r#"{"model":"m","messages":[{"role":"user"}],"temperature":"1"}"#, "temperature"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stream":"yes"}"#, "stream"),
        (r#"{"model":"m","messages":[{"role":"user"}],"stream_options":{"include_usage":true}}"#, "stream_options"),
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
    assert!(parse(Operation::Completions, r#"{"model":"m","messages":[]}"#, LIMITS).is_err());
}
