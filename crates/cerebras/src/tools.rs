//! Tools, and the choice among them, as Cerebras types them.

use provider::{Error, Reader, Value};

use crate::{
    exclude::blaming,
    schema,
    typed::{Member, Shape, Writer, find},
};

/// Longest name of a function, in characters.
const MAX_NAME: usize = 64;

const TOOL: Shape = Shape { names: &["type", "function"], dispensable: &[] };
const FUNCTION: Shape = Shape { names: &["name", "description", "parameters", "strict"], dispensable: &[] };
const CHOSEN: Shape = Shape { names: &["name"], dispensable: &[] };

/// Writes the tools `raw`.
pub(crate) fn tools(writer: &mut Writer<'_>, raw: &str) -> Result<(), Error> {
    writer.list(&mut Reader::new(raw), |writer, reader| tool(writer, reader, &FUNCTION))
}

/// Writes the choice `raw`: a string such as `auto`, or the one function to call.
pub(crate) fn choice(writer: &mut Writer<'_>, raw: &str) -> Result<(), Error> {
    let mut reader = Reader::new(raw);
    if reader.peek() == Some(b'{') {
        return tool(writer, &mut reader, &CHOSEN);
    }
    writer.raw(raw);
    Ok(())
}

fn tool(writer: &mut Writer<'_>, reader: &mut Reader<'_>, shape: &Shape) -> Result<(), Error> {
    let members = writer.members(reader, &TOOL)?;
    let is_function = find(&members, "type").is_none_or(|kind| kind.text().as_deref() == Some("function"));
    let Some(function) = find(&members, "function").filter(|_| is_function) else {
        return Err(blaming(writer.field(), "Cerebras takes tools of the type 'function' only"));
    };
    let function = writer.members(&mut Reader::new(function.raw), shape)?;
    check(writer.field(), &function)?;
    writer.open('{');
    for member in &members {
        if member.name == "function" {
            writer.key("function");
            writer.object(&function, shape.names);
        } else {
            writer.member(member, TOOL.names);
        }
    }
    writer.close('}');
    Ok(())
}

fn check(field: &'static str, function: &[Member<'_>]) -> Result<(), Error> {
    let name = find(function, "name").and_then(Member::text).unwrap_or_default();
    if name.chars().count() > MAX_NAME {
        return Err(blaming(field, "Cerebras takes names of functions of at most 64 characters"));
    }
    let is_strict = find(function, "strict").is_some_and(|strict| strict.value == Value::Bool(true));
    match find(function, "parameters").filter(|_| is_strict) {
        Some(parameters) => schema::check(field, parameters.raw),
        None => Ok(()),
    }
}
