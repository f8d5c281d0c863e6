//! Strict JSON schemas that Cerebras refuses and vLLM takes. Only what its documentation or its refusals name is looked
//! for: where anything else is refused, the refusal moves the request on as well, one call later.

use provider::{Error, Malformed, Reader, Value};

use crate::exclude::blaming;

/// Keywords that it refuses. Bounds of numbers are not among them, although it was seen to refuse them once: Zod writes them for
/// every whole number, and a client that names Cerebras would be refused for all of these.
const REFUSED: [&str; 5] = ["maxItems", "maxLength", "minItems", "minLength", "pattern"];

/// Fails if Cerebras refuses the strict schema `raw`, which stands in `field`.
pub(crate) fn check(field: &'static str, raw: &str) -> Result<(), Error> {
    match refusal(&mut Reader::new(raw)) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(blaming(field, format!("Cerebras does not take this strict schema: {why}"))),
        Err(malformed) => Err(blaming(field, format!("the schema is not valid JSON: {malformed}"))),
    }
}

/// Why the schema that comes next is refused, if it is. It is read to its end in any case.
fn refusal(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(None);
    }
    let (mut why, mut is_object, mut is_closed) = (None, false, false);
    reader.enter()?;
    while let Some(key) = reader.key()? {
        let found = match &*key.decoded() {
            "type" => {
                let value = reader.value()?;
                is_object |= value.text().is_some_and(|kind| kind.says("object"));
                matches!(value, Value::Array(_)).then(|| "'type' is a list: use 'anyOf'".to_owned())
            }
            "additionalProperties" => {
                is_closed = reader.peek() == Some(b'f');
                refusal(reader)?
            }
            "properties" => {
                is_object = true;
                refusal_of_named(reader)?
            }
            "$defs" => refusal_of_named(reader)?,
            "definitions" => {
                reader.value()?;
                Some("reusable parts stand in 'definitions' instead of '$defs'".to_owned())
            }
            "$ref" => {
                let target = reader.value()?.text().map(|target| target.decoded());
                let is_known = target.is_some_and(|target| target.starts_with("#/$defs/"));
                (!is_known).then(|| "a '$ref' leads elsewhere than into '$defs'".to_owned())
            }
            "items" | "not" | "if" | "then" | "else" => refusal(reader)?,
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => refusal_of_listed(reader)?,
            name => {
                reader.value()?;
                REFUSED.contains(&name).then(|| format!("it holds '{name}'"))
            }
        };
        why = why.or(found);
    }
    if is_object && !is_closed {
        why = why.or_else(|| Some("an object is without 'additionalProperties': false".to_owned()));
    }
    Ok(why)
}

/// The same for an object of schemas.
fn refusal_of_named(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut why = None;
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(why);
    }
    reader.enter()?;
    while reader.key()?.is_some() {
        let found = refusal(reader)?;
        why = why.or(found);
    }
    Ok(why)
}

/// The same for a list of schemas.
fn refusal_of_listed(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut why = None;
    if reader.peek() != Some(b'[') {
        reader.value()?;
        return Ok(why);
    }
    reader.enter()?;
    while reader.element()? {
        let found = refusal(reader)?;
        why = why.or(found);
    }
    Ok(why)
}
