//! What is one message: all that one side says in a row.

use super::*;

#[test]
fn a_turn_of_the_assistant_is_one_message() {
    assert_eq!(
        messages(&json!([
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Look it "}, {"type": "reasoning_text", "text": "up."}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "I", "annotations": []}, {"type": "refusal", "refusal": " look."}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"city\":\"Paris\"}"},
            {"type": "function_call", "call_id": "c2", "name": "time", "arguments": ""},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "message", "role": "assistant", "content": "Rain."},
            {"role": "user", "content": "Thanks"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "xyz"},
        ])),
        json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "reasoning": "Look it up.", "content": "I look.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "time", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            {"role": "tool", "tool_call_id": "c2", "content": "a\nb"},
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "Thanks"},
        ])
    );
}

#[test]
fn what_the_assistant_says_in_a_row_is_one_message() {
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let thought = json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]});
    let messages = messages(&json!([
        {"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}, call, thought, call,
    ]));
    let call = &json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    assert_eq!(
        messages,
        json!([{"role": "assistant", "reasoning": "hm", "content": "A\n\nB", "tool_calls": [call, call]}])
    );
}

#[test]
fn a_text_behind_a_call_does_not_part_it_from_its_output() {
    let said = messages(&json!([
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"role": "assistant", "content": "Let me look."},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": "y"},
    ]));
    let call = |id: &str| json!([{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    assert_eq!(
        said,
        json!([
            {"role": "assistant", "content": "Let me look.", "tool_calls": call("c")},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
            {"role": "assistant", "content": null, "tool_calls": call("d")},
            {"role": "tool", "tool_call_id": "d", "content": "y"},
        ])
    );
}

#[test]
fn what_the_user_says_in_a_row_is_one_message() {
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        messages(&json!([
            {"role": "user", "content": "A"}, {"role": "user", "content": "B"}, {"role": "assistant", "content": "C"},
            {"role": "user", "content": "D"},
        ])),
        json!([
            {"role": "user", "content": [text("A"), text("B")]}, {"role": "assistant", "content": "C"},
            {"role": "user", "content": "D"},
        ])
    );
    let image = json!({"type": "input_image", "image_url": "http://x/1.png"});
    let behind_an_output = messages(&json!([
        {"type": "function_call", "call_id": "c", "name": "see", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [image]},
        {"role": "user", "content": "What is it?"},
    ]));
    let roles: Vec<_> = behind_an_output.as_array().expect("messages").iter().map(|each| &each["role"]).collect();
    assert_eq!(roles, ["assistant", "tool", "user"]);
    assert_eq!(behind_an_output[2]["content"][2], text("What is it?"));
}

#[test]
fn a_file_is_refused_where_it_is_sent_and_not_for_good() {
    let file = json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="});
    let with_file = json!({"role": "user", "content": [{"type": "input_text", "text": "Read."}, file]});
    let now = json!({"model": "m", "input": [{"role": "user", "content": "Hi"}, with_file]});
    assert_eq!(refused(&now).0, "input[1].content[1]");
    let asked_behind = json!({"model": "m", "input": [with_file, {"role": "user", "content": "What is in it?"}]});
    assert_eq!(refused(&asked_behind).0, "input[0].content[1]", "items in a row are one message");
    let later =
        messages(&json!([with_file, {"role": "assistant", "content": "No."}, {"role": "user", "content": "Go on"}]));
    let note = later[0]["content"][1]["text"].as_str().expect("a note");
    assert!(note.contains("cannot be read") && note.ends_with("a.pdf"), "{note}");
    let of_tool = messages(&json!([
        {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [file]},
    ]));
    assert!(of_tool[1]["content"].as_str().is_some_and(|text| text.contains("cannot be read")), "{of_tool}");
}

#[test]
fn images_of_tools_follow_all_outputs_of_their_turn() {
    let output = |id: &str, parts: Value| json!({"type": "function_call_output", "call_id": id, "output": parts});
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "see", "arguments": "{}"});
    let messages = messages(&json!([
        call("c1"),
        call("c2"),
        output("c1", json!([{"type": "input_image", "image_url": "http://x/1.png"}])),
        output(
            "c2",
            json!([{"type": "input_text", "text": "two"}, {"type": "input_image", "image_url": "http://x/2.png"}])
        ),
        call("c3"),
    ]));
    let roles: Vec<_> = messages.as_array().expect("messages").iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "user", "assistant"]);
    assert!(messages[1]["content"].as_str().is_some_and(|text| text.contains("image")));
    assert_eq!(messages[2]["content"], "two");
    let urls: Vec<_> = (1..3).map(|at| &messages[3]["content"][at]["image_url"]["url"]).collect();
    assert_eq!(urls, ["http://x/1.png", "http://x/2.png"]);
}
