//! Which function a model calls, and with what.
//!
//! A function that the request names is called; else, unless it says `none`, the next one that the prompt
//! [dictates](crate::dictated), arguments included. Else, under `required`, it is the one that the last user message fits
//! best, rather one not yet called since that message. Under `auto` a function is called only if that message asks for
//! it: it holds the words of the function's name, or half of them without the likes of "get", or two words of its
//! description of four letters or more; and never when the conversation ends with the answer of a tool.

use serde_json::Value;

use crate::{
    dictated,
    schema::{Prompt, fitting},
    words::{mentions, words},
};

/// Words that say nothing about what a function is for.
const EMPTY_WORDS: [&str; 24] = [
    "a", "an", "and", "at", "by", "do", "for", "from", "get", "in", "is", "it", "my", "of", "on", "or", "run", "set",
    "the", "this", "to", "use", "with", "you",
];
/// Letters of a word of a description that counts, and how many of them are enough.
const LONG_WORD: usize = 4;
const ENOUGH_WORDS: usize = 2;

/// A call of a function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The arguments as JSON.
    pub(crate) arguments: String,
}

/// The call that answers a chat, if one does.
pub(crate) fn call(body: &Value, prompt: &Prompt) -> Option<Call> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let functions: Vec<&Value> = tools.iter().map(|tool| &tool["function"]).collect();
    let choice = &body["tool_choice"];
    if let Some(name) = choice["function"]["name"].as_str() {
        let parameters = functions.iter().find(|function| function["name"] == name).map(|found| &found["parameters"]);
        return Some(made(name, parameters.unwrap_or(&Value::Null), prompt));
    }
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_offered = |name: &str| functions.iter().any(|function| function["name"] == name);
    if choice != "none"
        && let Some(call) = dictated::next(messages, is_offered)
    {
        return Some(call);
    }
    let function = match choice.as_str() {
        Some("required") => forced(&functions, messages),
        Some("auto") | None if choice.is_null() || choice.is_string() => asked_for(&functions, messages),
        _ => None,
    }?;
    Some(made(function["name"].as_str()?, &function["parameters"], prompt))
}

/// Whether the conversation ends with the answer of a tool.
pub(crate) fn is_answered(messages: &[Value]) -> bool {
    messages.last().is_some_and(|message| message["role"] == "tool")
}

fn made(name: &str, parameters: &Value, prompt: &Prompt) -> Call {
    let arguments = if parameters.is_object() { fitting(parameters, prompt) } else { Value::Null };
    let arguments = if arguments.is_object() { arguments.to_string() } else { "{}".to_owned() };
    Call { name: name.to_owned(), arguments }
}

fn forced<'a>(functions: &[&'a Value], messages: &[Value]) -> Option<&'a Value> {
    let text = words(&last_user_text(messages));
    let begin = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    let calls = messages[begin..].iter().filter_map(|message| message["tool_calls"].as_array()).flatten();
    let called: Vec<&Value> = calls.map(|call| &call["function"]["name"]).collect();
    let rank = |function: &&&Value| (!called.contains(&&function["name"]), score(function, &text));
    // Of equal ones the first.
    functions.iter().rev().max_by_key(rank).copied()
}

fn asked_for<'a>(functions: &[&'a Value], messages: &[Value]) -> Option<&'a Value> {
    if is_answered(messages) {
        return None;
    }
    let text = words(&last_user_text(messages));
    let scored = functions.iter().rev().map(|function| (score(function, &text), function));
    scored.filter(|(score, _)| *score > 0).max_by_key(|(score, _)| *score).map(|(_, function)| *function)
}

fn last_user_text(messages: &[Value]) -> String {
    let last = messages.iter().rfind(|message| message["role"] == "user");
    last.map(|message| crate::inference::content(&message["content"])).unwrap_or_default()
}

/// How well a text asks for a function; 0 if it does not.
fn score(function: &Value, text: &[String]) -> usize {
    let name = words(function["name"].as_str().unwrap_or_default());
    if mentions(text, &name) {
        return 1000;
    }
    let is_said = |word: &String| text.iter().any(|said| singular(said) == singular(word));
    let significant: Vec<&String> = name.iter().filter(|word| !EMPTY_WORDS.contains(&word.as_str())).collect();
    let said = significant.iter().filter(|word| is_said(word)).count();
    if said > 0 && said * 2 >= significant.len() {
        return 100 + said;
    }
    let mut description = words(function["description"].as_str().unwrap_or_default());
    description
        .retain(|word| word.chars().count() >= LONG_WORD && !EMPTY_WORDS.contains(&word.as_str()) && is_said(word));
    description.sort_unstable();
    description.dedup();
    if description.len() >= ENOUGH_WORDS { description.len() } else { 0 }
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').filter(|stem| stem.len() >= 3).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Value {
        let tool = |name: &str, description: &str| {
            json!({"type": "function", "function": {"name": name, "description": description,
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}})
        };
        json!([
            tool("get_current_weather", "Tells how warm it is."),
            tool("bookTable", "Reserves seats in a restaurant.")
        ])
    }

    fn called(messages: &Value, choice: &Value) -> Option<String> {
        let body = json!({"messages": messages, "tools": tools(), "tool_choice": choice});
        call(&body, &Prompt::new("in Rome", 9)).map(|call| call.name)
    }

    fn said(text: &str) -> Value {
        json!([{"role": "user", "content": text}])
    }

    #[test]
    fn a_function_is_called_when_the_prompt_asks_for_it() {
        let auto = |text: &str| called(&said(text), &Value::Null);
        for text in ["Call get_current_weather now", "Use getCurrentWeather.", "What's the weather in Rome?"] {
            assert_eq!(auto(text).as_deref(), Some("get_current_weather"), "{text}");
        }
        assert_eq!(auto("Two seats in some restaurant, please").as_deref(), Some("bookTable"));
        assert_eq!(auto("Book a table, whatever the weather").as_deref(), Some("bookTable"), "the better match");
        for text in ["hello there", "How do you get to the station?", "A seat, please"] {
            assert_eq!(auto(text), None, "{text}");
        }
        assert_eq!(called(&said("weather"), &json!("auto")).as_deref(), Some("get_current_weather"));
        assert_eq!(called(&said("weather"), &json!("none")), None);
    }

    #[test]
    fn an_answered_call_is_not_repeated() {
        let messages = json!([{"role": "user", "content": "weather?"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get_current_weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"}]);
        assert_eq!(called(&messages, &json!("auto")), None);
        assert_eq!(called(&messages, &json!("required")).as_deref(), Some("bookTable"), "the one not called yet");
    }

    #[test]
    fn a_forced_function_is_called_with_arguments_that_fit() {
        assert_eq!(called(&said("hello"), &json!("required")).as_deref(), Some("get_current_weather"), "the first");
        let body = json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "bookTable"}}});
        let call = call(&body, &Prompt::new("in Rome", 9)).unwrap();
        assert_eq!((call.name.as_str(), call.arguments.as_str()), ("bookTable", "{\"city\":\"in Rome\"}"));
    }

    #[test]
    fn a_dictated_call_is_made_as_it_stands_unless_none_is_wanted() {
        let said = said("Call bookTable with {\"seats\": 2}");
        let call_of =
            |choice| call(&json!({"messages": said, "tools": tools(), "tool_choice": choice}), &Prompt::new("", 9));
        for choice in ["auto", "required"] {
            let call = call_of(choice).unwrap();
            assert_eq!((call.name.as_str(), call.arguments.as_str()), ("bookTable", "{\"seats\": 2}"), "{choice}");
        }
        assert_eq!(call_of("none"), None);
    }

    #[test]
    fn a_function_without_parameters_gets_an_empty_object() {
        let body = json!({"tools": [{"function": {"name": "now"}}], "tool_choice": "required"});
        assert_eq!(call(&body, &Prompt::new("", 9)).unwrap().arguments, "{}");
    }
}
