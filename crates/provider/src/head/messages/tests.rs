use crate::{Head, InvalidRequest, Limits, Operation, head::parse};

/// The head of a chat whose second message is `message`.
fn read(message: &str) -> Result<Head, InvalidRequest> {
    let text = format!(r#"{{"model":"m","messages":[{{"role":"system","content":"x"}},{message}]}}"#);
    parse(Operation::Chat, &text, Limits { max_messages: 100 }).map(|(head, _)| head)
}

#[test]
fn messages_of_more_than_plain_text_are_recognised() {
    for (message, expected) in [
        (r#"{"role":"user","content":"x"}"#, false),
        (r#"{"role":"assistant","content":"x"}"#, false),
        (r#"{"role":"system","content":"x"}"#, false),
        (r#"{"role":"user","content":null,"name":"n"}"#, false),
        (r#"{"role":"user","content":"\u0078","name":7}"#, false),
        (r#"{"role":"developer","content":"x"}"#, true),
        (r#"{"role":"tool","content":"x"}"#, true),
        (r#"{"role":"function","content":"x"}"#, true),
        (r#"{"role":"\u0075ser","content":"x"}"#, true),
        (r#"{"role":"user","content":[]}"#, true),
        (r#"{"role":"user","content":["x"]}"#, true),
        (r#"{"role":"assistant","content":null,"tool_calls":[]}"#, true),
        (r#"{"role":"assistant","content":"x","reasoning_content":"y","name":"n"}"#, true),
        (r#"{"role":"user","c\u006fntent":"x","name":"n"}"#, true),
    ] {
        assert_eq!(read(message).expect(message).has_special_messages, expected, "{message}");
    }
}

#[test]
fn every_part_of_a_message_is_looked_at() {
    for (parts, images, media) in [
        (r#"["x",{"type":"image_url"}]"#, true, false),
        (r#"["x","image_url"]"#, false, false),
        (r#"[{"type":"text","text":"image_url"},{"type":"input_audio"}]"#, false, true),
        (r#"[{"type":"image_url"},{"type":"file"},{"type":"text"}]"#, true, true),
        (r#"[{"type":"refusal"},{"type":"thinking"},{"type":"reasoning"},{"type":7},{}]"#, false, false),
        (r#"[{"type":"input_image"}]"#, true, false),
        (r#"[{"type":"image_embeds"}]"#, true, false),
    ] {
        let head = read(&format!(r#"{{"role":"user","content":{parts}}}"#)).expect(parts);
        assert_eq!((head.features.images, head.has_media), (images, media), "{parts}");
    }
}

#[test]
fn a_wrong_message_is_reported_with_its_index() {
    let roles = "system, developer, user, assistant, tool, function";
    let of_role = |what: &str| ("messages[1].role", format!("'messages[1].role' {what} {roles}"));
    let of_content = |what: &str| ("messages[1].content", format!("'messages[1].content' {what}"));
    let no_message = ("messages", "'messages[1]' must be an object with 'role' and 'content'".to_owned());
    for (message, (field, expected)) in [
        (r#""x""#, no_message.clone()),
        ("[]", no_message.clone()),
        ("null", no_message),
        (r#"{"content":"x"}"#, of_role("is missing: use one of")),
        (r#"{"role":null}"#, of_role("must be one of")),
        (r#"{"role":"robot"}"#, of_role("is \"robot\": use one of")),
        (r#"{"role":"\u0075sers"}"#, of_role("is \"users\": use one of")),
        (r#"{"role":"user","content":{}}"#, of_content("must be a string, an array of parts or null")),
        (r#"{"role":"user","content":[{"type":"text"},7]}"#, of_content("must hold parts: objects with a 'type'")),
    ] {
        assert_eq!(read(message).expect_err(message), InvalidRequest::field(field, expected), "{message}");
    }
}
