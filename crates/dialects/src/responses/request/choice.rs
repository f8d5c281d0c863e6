//! Which tools there are, and which of them the model is to call.

use std::collections::BTreeSet;

use provider::InvalidRequest;

use super::{
    Body, required,
    tools::{SEARCH, Tools},
};
use crate::{
    chat::write as json,
    node::{Node, shown},
};

/// What the model is to do with tools.
enum Choice {
    /// `auto`, `none` or `required`.
    Mode(&'static str),
    /// To call this one.
    Tool(usize),
}

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`, with a comma in front of each; nothing where there are no
/// tools.
pub(super) fn write(out: &mut Vec<u8>, body: &Body<'_>, tools: &Tools<'_>) -> Result<(), InvalidRequest> {
    let node = body.get("tool_choice");
    let (choice, allowed) = node.map_or(Ok((None, None)), |node| read(&node, tools))?;
    let parallel = body.flag("parallel_tool_calls")?;
    let before = out.len();
    out.extend_from_slice(br#","tools":"#);
    if tools.write(out, allowed.as_ref()) == 0 {
        out.truncate(before);
        if let (Some(node), Some(Choice::Mode("required"))) = (node, choice) {
            let message = "requires a tool, and there is none that can be called: add a tool of type 'function'";
            return Err(node.wrong(message));
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

/// The choice, and the tools that are sent if those are not all.
type Chosen = (Option<Choice>, Option<BTreeSet<usize>>);

fn read(choice: &Node<'_, '_>, tools: &Tools<'_>) -> Result<Chosen, InvalidRequest> {
    if choice.first() == b'"' {
        return Ok((Some(Choice::Mode(mode(choice)?)), None));
    }
    if choice.first() != b'{' {
        return Err(choice.wrong("must be \"auto\", \"none\", \"required\" or an object with a 'type'"));
    }
    let [kind, name, how, list] = choice.members(["type", "name", "mode", "tools"])?;
    let kind = required(choice, kind, "type", "as in {\"type\": \"function\", \"name\": \"…\"}")?;
    match &*kind.text()?.decoded() {
        "function" | "custom" => {
            let node = required(choice, name, "name", "the name of a tool")?;
            let name = node.text()?.decoded();
            let tool = tools.find(&name);
            let message = || format!("is {:?}, which is no tool of the request", shown(&name));
            Ok((Some(Choice::Tool(tool.ok_or_else(|| node.wrong(message()))?)), None))
        }
        "tool_search" if tools.find(SEARCH).is_some() => Ok((tools.find(SEARCH).map(Choice::Tool), None)),
        "allowed_tools" => {
            let how = mode(&required(choice, how, "mode", "\"auto\" or \"required\"")?)?;
            let list = required(choice, list, "tools", "an array such as [{\"type\": \"function\", \"name\": \"…\"}]")?;
            Ok((Some(Choice::Mode(how)), Some(allowed(&list, tools)?)))
        }
        other => {
            let other = shown(other);
            let message =
                format!("forces {other:?}, a tool that is not served here: use a tool of type 'function', or \"auto\"");
            Err(kind.wrong(message))
        }
    }
}

/// The tools that `list` names. Only those are sent, because the upstreams of a chat know no such choice. Tools that
/// were left out cannot be allowed.
fn allowed(list: &Node<'_, '_>, tools: &Tools<'_>) -> Result<BTreeSet<usize>, InvalidRequest> {
    let mut all = BTreeSet::new();
    list.each(|tool| {
        let [name] = tool.members(["name"])?;
        if let Some(name) = name {
            all.extend(tools.find(&name.text()?.decoded()));
        }
        Ok(())
    })?;
    Ok(all)
}

fn mode(node: &Node<'_, '_>) -> Result<&'static str, InvalidRequest> {
    let mode = node.text()?;
    ["auto", "none", "required"].into_iter().find(|known| mode.says(known)).ok_or_else(|| {
        let message = format!("is {:?}: use \"auto\", \"none\" or \"required\"", shown(&mode.decoded()));
        node.wrong(message)
    })
}
