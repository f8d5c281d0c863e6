//! Which tools there are, and which of them the model is to call.

use std::collections::BTreeSet;

use provider::{InvalidRequest, Value};

use super::{
    read::{BODY, Members, Place, elements, shown},
    tools::Tools,
};
use crate::chat::write as json;

/// What the model is to do with tools.
enum Choice {
    /// `auto`, `none` or `required`.
    Mode(&'static str),
    /// To call this one.
    Tool(usize),
}

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`, with a comma in front of each; nothing where there are no tools.
pub(super) fn write(out: &mut Vec<u8>, body: &Members<'_>, tools: &Tools) -> Result<(), InvalidRequest> {
    let (choice, allowed) = read(body, tools)?;
    let parallel = body.flag("parallel_tool_calls", &BODY)?;
    let before = out.len();
    out.extend_from_slice(br#","tools":"#);
    if tools.write(out, allowed.as_ref()) == 0 {
        out.truncate(before);
        if let Some(Choice::Mode("required")) = choice {
            let message = "requires a tool, and there is none that can be called: add a tool of type 'function'";
            return Err(BODY.member("tool_choice").refuse(message));
        }
        return Ok(());
    }
    match choice {
        None => {}
        Some(Choice::Mode(mode)) => {
            out.extend_from_slice(br#","tool_choice":"#);
            json::string(out, mode);
        }
        Some(Choice::Tool(at)) => {
            out.extend_from_slice(br#","tool_choice":{"type":"function","function":{"name":"#);
            json::string(out, tools.name_of(at));
            out.extend_from_slice(b"}}");
        }
    }
    if let Some(parallel) = parallel {
        out.extend_from_slice(if parallel {
            br#","parallel_tool_calls":true"#
        } else {
            br#","parallel_tool_calls":false"#
        });
    }
    Ok(())
}

type Chosen = (Option<Choice>, Option<BTreeSet<usize>>);

fn read(body: &Members<'_>, tools: &Tools) -> Result<Chosen, InvalidRequest> {
    let place = BODY.member("tool_choice");
    let Some(choice) = body.get("tool_choice") else { return Ok((None, None)) };
    if let Value::Text(mode) = choice.value {
        return Ok((Some(Choice::Mode(mode_of(&mode.decoded(), &place)?)), None));
    }
    let choice = Members::read(choice.raw, &place)
        .map_err(|_| place.refuse("must be \"auto\", \"none\", \"required\" or an object with a 'type'"))?;
    let kind = choice.required_text("type", &place)?.decoded();
    match &*kind {
        "function" | "custom" => {
            let name = choice.required_text("name", &place)?.decoded();
            let message = || format!("is {:?}, which is no tool of the request", shown(&name));
            let tool = tools.find(&name).ok_or_else(|| place.member("name").refuse(message()))?;
            Ok((Some(Choice::Tool(tool)), None))
        }
        "tool_search" if tools.find(super::tools::SEARCH).is_some() => {
            Ok((tools.find(super::tools::SEARCH).map(Choice::Tool), None))
        }
        "allowed_tools" => allowed(&choice, &place, tools),
        kind => {
            let kind = shown(kind);
            let message =
                format!("forces {kind:?}, a tool that is not served here: use a tool of type 'function', or \"auto\"");
            Err(place.member("type").refuse(message))
        }
    }
}

/// A choice among some of the tools: only those are sent, because a chat's upstreams know no such choice. Tools that were left out cannot be
/// allowed.
fn allowed(choice: &Members<'_>, place: &Place<'_>, tools: &Tools) -> Result<Chosen, InvalidRequest> {
    let mode = mode_of(&choice.required_text("mode", place)?.decoded(), &place.member("mode"))?;
    let place = place.member("tools");
    let Some(list) = choice.get("tools") else {
        return Err(place.refuse("is required: an array of tools such as {\"type\": \"function\", \"name\": \"…\"}"));
    };
    let mut all = BTreeSet::new();
    for (index, raw) in elements(list.raw, &place)?.into_iter().enumerate() {
        let place = place.element(index);
        let tool = Members::read(raw, &place)?;
        if let Some(name) = tool.text("name", &place)? {
            all.extend(tools.find(&name.decoded()));
        }
    }
    Ok((Some(Choice::Mode(mode)), Some(all)))
}

fn mode_of(mode: &str, place: &Place<'_>) -> Result<&'static str, InvalidRequest> {
    let message = || format!("is {:?}: use \"auto\", \"none\" or \"required\"", shown(mode));
    ["auto", "none", "required"].into_iter().find(|known| *known == mode).ok_or_else(|| place.refuse(message()))
}
