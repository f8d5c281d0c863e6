//! Messages, tools and formats as they are sent.

use super::*;

/// What is sent of the field `name` when the client sends `raw` for it, and what is said to be dropped.
fn field(name: &str, raw: &str, without: Option<&str>) -> Result<(String, Vec<String>), Error> {
    let messages = if name == "messages" { "" } else { r#""messages":[{"role":"user","content":"JSON, please"}],"# };
    let tools = if name == "tool_choice" { r#""tools":[{"type":"function","function":{"name":"f"}}],"# } else { "" };
    let body = format!(r#"{{"model":"alias","max_tokens":3,{messages}{tools}"{name}":{raw}}}"#);
    let without = without.map(|name| Adjustment::Without(name.to_owned()));
    let (body, head) = sent(&parsed(Operation::Chat, body), "qwen-3.8-27b", without)?;
    let object = provider::Object::parse(str::from_utf8(&body).expect("UTF-8")).expect("an object");
    Ok((object.get(&body, name).unwrap_or_default().to_owned(), head.dropped_params))
}

/// `raw` is sent as `expected`, and `dropped` is said.
fn becomes(name: &str, raw: &str, expected: &str, dropped: &[&str]) {
    let (sent, said) = field(name, raw, None).unwrap_or_else(|error| panic!("{raw} is refused: {error}"));
    assert_eq!((sent.as_str(), said), (expected, dropped.iter().map(ToString::to_string).collect()), "{raw}");
}

/// `raw` goes to another upstream, because of `blamed`.
fn moves_on(name: &str, raw: &str, blamed: &str) {
    let Err(error) = field(name, raw, None) else { panic!("{raw} was sent") };
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some(blamed)), "{raw}: {error}");
}

/// A message of the assistant with `members`, after which it is `expected`.
fn assistant(members: &str, expected: &str, dropped: &[&str]) {
    let list = |members: &str| format!(r#"[{{"role":"assistant",{members}}}]"#);
    becomes("messages", &list(members), &list(expected), dropped);
}

#[test]
fn plain_messages_are_sent_as_they_came() {
    for raw in [
        r#"[ {"role":"user","content":"a \ud83d b"} ,{"content":null, "role":"assistant"}]"#,
        r#"[{"role":"system","content":"x","name":"n"},{"role":"user","content":"developer, reasoning_content"}]"#,
    ] {
        becomes("messages", raw, raw, &[]);
    }
}

#[test]
fn answers_of_vllm_in_the_history_keep_what_cerebras_types() {
    let nulls = r#""content":"x","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null"#;
    assistant(nulls, r#""content":"x""#, &[]);
    let empty =
        r#""tool_calls":[],"content":"x","annotations":[],"reasoning_content":"","function_call":{},"audio":"""#;
    assistant(empty, r#""content":"x""#, &[]);
    let filled = r#""refusal":"no","content":null,"annotations":[{"a":1}],"extra":{"deep":[1]},"parsed":false"#;
    assistant(
        filled,
        r#""content":null"#,
        &["messages.refusal", "messages.annotations", "messages.extra", "messages.parsed"],
    );
    let other_roles = r#"[{"role":"user","content":"x","tool_calls":[],"reasoning":"r","tool_call_id":"t"}]"#;
    becomes(
        "messages",
        other_roles,
        r#"[{"role":"user","content":"x"}]"#,
        &["messages.reasoning", "messages.tool_call_id"],
    );
}

#[test]
fn each_name_is_said_once_and_not_all_of_very_many() {
    let message = r#"{"role":"user","content":"x","extra":1}"#;
    let sent = r#"{"role":"user","content":"x"}"#;
    becomes("messages", &format!("[{message},{message}]"), &format!("[{sent},{sent}]"), &["messages.extra"]);
    let many: Vec<String> = (0..1000).map(|at| format!(r#","{at}{}":1"#, "é".repeat(99))).collect();
    let many = many.concat();
    let (_, said) = field("messages", &format!(r#"[{{"role":"user","content":"x"{many}}}]"#), None).expect("sent");
    assert_eq!(said.len(), 16);
    assert!(said.iter().all(|name| name.len() <= "messages.".len() + 64), "{said:?}");
}

#[test]
fn reasoning_is_sent_once_under_the_name_that_cerebras_knows() {
    let cases = [
        (r#""reasoning_content":"r","content":"x""#, r#""reasoning":"r","content":"x""#),
        (r#""reasoning":"r","content":"x","reasoning_content":"r""#, r#""reasoning":"r","content":"x""#),
        (r#""reasoning_content":"c","content":"x","reasoning":"r""#, r#""reasoning":"r","content":"x""#),
        (r#""reasoning_content":null,"content":"x","reasoning":"r""#, r#""reasoning":"r","content":"x""#),
        (r#""reasoning":null,"reasoning_content":"r","content":"x""#, r#""reasoning":"r","content":"x""#),
        (r#""reasoning":null,"reasoning_content":null,"content":"x""#, r#""content":"x""#),
        (
            r#""content":"x","reasoning":[{"type":"text","text":"r","signature":null}]"#,
            r#""content":"x","reasoning":[{"type":"text","text":"r"}]"#,
        ),
    ];
    for (members, expected) in cases {
        assistant(members, expected, &[]);
    }
}

#[test]
fn names_and_roles_with_escapes_mean_the_same() {
    becomes(
        "messages",
        r#"[{"r\u006fle":"d\u0065veloper","c\u006fntent":"x\u00e9\ud83d"},{"role":"\u0075ser","content":"y"}]"#,
        r#"[{"role":"system","content":"x\u00e9\ud83d"},{"role":"user","content":"y"}]"#,
        &[],
    );
    assistant(
        r#""reas\u006fning_content":"r","content":"x","r\u0065fusal":"no""#,
        r#""reasoning":"r","content":"x""#,
        &["messages.refusal"],
    );
}

#[test]
fn parts_keep_what_cerebras_types() {
    let user = |parts: &str| format!(r#"[{{"role":"user","content":[{parts}]}}]"#);
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            r#"{"type":"text","text":"a \ud83d b","annotations":null,"cache_control":{"type":"ephemeral"}}"#,
            r#"{"type":"text","text":"a \ud83d b"}"#,
            &["messages.cache_control"],
        ),
        (
            r#"{"image_url":{"detail":"low","url":"data:image/png;base64,eA==","x":0},"type":"image_url","uuid":null}"#,
            r#"{"image_url":{"detail":"low","url":"data:image/png;base64,eA=="},"type":"image_url"}"#,
            &["messages.x"],
        ),
        (
            r#"{"type":"image_url","image_url":{"url":"DATA:image/png;base64,eA==","detail":null}}"#,
            r#"{"type":"image_url","image_url":{"url":"DATA:image/png;base64,eA=="}}"#,
            &[],
        ),
        (
            r#""bare",{"t\u0079pe":"text","text":"y"}"#,
            r#"{"type":"text","text":"bare"},{"type":"text","text":"y"}"#,
            &[],
        ),
        (
            r#"{"type":"text","text":"x"},{"type":"refusal","refusal":"no"}"#,
            r#"{"type":"text","text":"x"}"#,
            &["messages.refusal"],
        ),
        ("", "", &[]),
    ];
    for (parts, expected, dropped) in cases {
        becomes("messages", &user(parts), &user(expected), dropped);
    }
    assistant(
        r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]"#,
        r#""content":"""#,
        &["messages.thinking"],
    );
}

#[test]
fn tool_calls_keep_what_cerebras_types() {
    let answer = |sent: &str| format!(r#"{{"role":"tool","tool_call_id":"t","content":"1"{sent}}}"#);
    let call = |sent: &str, function: &str| {
        format!(
            r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"t","type":"function"{sent},"function":{{"name":"f","arguments":"{{\"a\":\"\ud83d\"}}"{function}}}}}]}}"#
        )
    };
    becomes(
        "messages",
        &format!(
            "[{},{}]",
            call(
                r#","index":0,"extra_content":{"g":1},"function_call":null"#,
                r#","parsed_arguments":{"a":1},"strict":null"#
            ),
            answer(r#","name":"f","is_error":false,"refusal":null"#)
        ),
        &format!("[{},{}]", call(r#","index":0"#, ""), answer(r#","name":"f""#)),
        &["messages.extra_content", "messages.parsed_arguments", "messages.is_error"],
    );
}

#[test]
fn tools_and_choices_and_formats_keep_what_cerebras_types() {
    becomes(
        "tools",
        r#"[{"type":"function","cache_control":{"t":1},"function":{"name":"f","description":null,"parameters":{"x-any":{"strict":1}},"strict":false,"n\u0061mespace":"n"}}]"#,
        r#"[{"type":"function","function":{"name":"f","parameters":{"x-any":{"strict":1}},"strict":false}}]"#,
        &["tools.cache_control", "tools.namespace"],
    );
    for word in [r#""auto""#, r#""required""#] {
        becomes("tool_choice", word, word, &[]);
    }
    becomes(
        "tool_choice",
        r#"{"type":"function","function":{"name":"f","x":1},"mode":null}"#,
        r#"{"type":"function","function":{"name":"f"}}"#,
        &["tool_choice.x"],
    );
    becomes(
        "response_format",
        r#"{"type":"json_schema","json_schema":{"name":"n","strict":null,"schema":{"pattern":"a"},"x":1},"schema":null}"#,
        r#"{"type":"json_schema","json_schema":{"name":"n","schema":{"pattern":"a"}}}"#,
        &["response_format.x"],
    );
    becomes("response_format", r#"{"type":"text","json_schema":null}"#, r#"{"type":"text"}"#, &[]);
    becomes(
        "prediction",
        r#"{"type":"content","content":[{"type":"text","text":"x","y":1}],"z":[]}"#,
        r#"{"type":"content","content":[{"type":"text","text":"x"}]}"#,
        &["prediction.y"],
    );
}

#[test]
fn a_choice_among_no_tools_is_left_out_or_moves_on() {
    for choice in ["null", r#""none""#, r#""\u0061uto""#] {
        let extra: Value = serde_json::from_str(choice).expect("JSON");
        check(json!({"tool_choice": extra, "parallel_tool_calls": true}), json!({}), &[]);
    }
    for choice in [json!("required"), json!({"type": "function", "function": {"name": "f"}})] {
        let error = try_sent(Operation::Chat, "gpt-oss-120b", &json!({"tool_choice": choice})).expect_err("refused");
        assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some("tool_choice")));
    }
}

#[test]
fn what_a_conversation_cannot_do_without_moves_on() {
    let assistant = |members: &str| format!(r#"[{{"role":"assistant",{members}}}]"#);
    let user = |part: &str| format!(r#"[{{"role":"user","content":[{part}]}}]"#);
    for messages in [
        assistant(r#""content":null,"function_call":{"name":"f","arguments":"{}"}"#),
        assistant(r#""content":null,"audio":{"id":"a"}"#),
        assistant(r#""content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,eA=="}}]"#),
        r#"[{"role":"function","name":"f","content":"1"}]"#.to_owned(),
        user(r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#),
        user(r#"{"type":"image_url","image_url":{}}"#),
        user(r#"{"type":"input_image","image_url":"data:image/png;base64,eA=="}"#),
        user(r#"{"type":"input_audio","input_audio":{"data":"eA==","format":"wav"}}"#),
        user(r#"{"type":"audio_url","audio_url":{"url":"data:"}}"#),
        user(r#"{"type":"video_url","video_url":{"url":"data:"}}"#),
        user(r#"{"type":"file","file":{"file_id":"f"}}"#),
        user(r#"{"text":"of no type"}"#),
    ] {
        moves_on("messages", &messages, "messages");
    }
}

#[test]
fn tool_calls_without_their_answers_move_on() {
    let call = |id: &str| {
        format!(
            r#"{{"role":"assistant","tool_calls":[{{"id":{id},"type":"function","function":{{"name":"f","arguments":""}}}}]}}"#
        )
    };
    let answer = |id: &str| format!(r#"{{"role":"tool","tool_call_id":{id},"content":"1"}}"#);
    let (a, b) = (r#""a""#, r#""b""#);
    let user = r#"{"role":"user","content":"x"}"#.to_owned();
    for messages in [
        vec![call(a)],
        vec![call(a), user.clone()],
        vec![call(a), answer(b)],
        vec![answer(a), call(a)],
        vec![answer(a)],
        vec![call(a), answer(a), answer(a)],
        vec![call(a), answer(a), call(a), answer(a)],
        vec![call("null"), answer("null")],
        vec![call(a).replace(r#""type":"function""#, r#""type":"custom""#), answer(a)],
        vec![r#"{"role":"assistant","tool_calls":{"id":"a"}}"#.to_owned()],
        vec![r#"{"role":"assistant","tool_calls":["a"]}"#.to_owned()],
    ] {
        moves_on("messages", &format!("[{}]", messages.join(",")), "messages");
    }
    // An id means the same however it is written.
    for messages in
        [vec![call(r#""\u0061""#), answer(a), user.clone()], vec![call(a), user, call(b), answer(b), answer(a)]]
    {
        let list = format!("[{}]", messages.join(","));
        becomes("messages", &list, &list, &[]);
    }
}

#[test]
fn tools_that_cerebras_cannot_have_move_on() {
    let tool = |function: &str| format!(r#"[{{"type":"function","function":{function}}}]"#);
    let name = |length: usize| format!(r#"{{"name":"{}"}}"#, "n".repeat(length));
    for raw in [
        tool(&name(65)),
        tool(r#"{"name":"f","strict":true,"parameters":{"type":"object"}}"#),
        tool("7"),
        r#"[{"type":"web_search"}]"#.to_owned(),
        r#"[{"type":"custom","custom":{"name":"c"}}]"#.to_owned(),
        r#"[{"type":"custom","function":{"name":"f"}}]"#.to_owned(),
        "[7]".to_owned(),
    ] {
        moves_on("tools", &raw, "tools");
    }
    becomes("tools", &tool(&name(64)), &tool(&name(64)), &[]);
    moves_on("tool_choice", r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto"}}"#, "tool_choice");
    let old = r#"[{"name":"f","parameters":{"type":"object","properties":{}}}]"#;
    moves_on("functions", old, "functions");
    for choice in [r#""auto""#, r#"{"name":"f"}"#] {
        moves_on("function_call", choice, "function_call");
    }
    becomes("functions", "[]", "", &["functions"]);
    becomes("function_call", r#""none""#, "", &["function_call"]);
    moves_on("continue_final_message", "true", "continue_final_message");
}

#[test]
fn a_member_that_was_refused_is_left_out_of_all_messages() {
    let raw = r#"[{"role":"user","content":"x","name":"n"},{"role":"assistant","reasoning_content":"r","name":"m",
        "tool_calls":[{"id":"t","type":"function","index":0,"function":{"name":"f","arguments":""}}]},
        {"role":"tool","tool_call_id":"t","content":[{"type":"text","text":"y"}]}]"#;
    let sent = |without: &str| {
        let (sent, said) = field("messages", raw, Some(without)).expect("sent");
        assert_eq!(said, [without]);
        serde_json::from_str::<Value>(&sent).expect("JSON")
    };
    let all = serde_json::from_str::<Value>(&field("messages", raw, None).expect("sent").0).expect("JSON");
    let name = sent("messages.name");
    assert_eq!((name[0].get("name"), name[1].get("name")), (None, None));
    assert_eq!((&name[1]["tool_calls"], &name[2]), (&all[1]["tool_calls"], &all[2]), "a function keeps its name");
    assert_eq!(sent("messages.reasoning")[1].get("reasoning"), None);
    assert_eq!(sent("messages.index")[1]["tool_calls"][0].get("index"), None);
    let plain = field("messages", r#"[{"role":"user","content":"x","name":"n"}]"#, Some("messages.name"));
    assert_eq!(plain.expect("sent").0, r#"[{"role":"user","content":"x"}]"#);
}

#[test]
fn a_field_that_was_refused_is_left_out_and_said() {
    let fields = json!({"logit_bias": {"5": 1}, "prediction": {"type": "content", "content": "x"}, "seed": 1});
    for name in ["logit_bias", "prediction"] {
        let request = request(Operation::Chat, &fields);
        let (body, head) = sent(&request, "qwen", Some(Adjustment::Without(name.to_owned()))).expect("sent");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((body.get(name), body["seed"].as_u64()), (None, Some(1)));
        assert_eq!(head.dropped_params, [name]);
    }
}
