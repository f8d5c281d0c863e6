//! Models in Anthropic's shape.

use crate::chat::write;

/// The list of models: all of them on one page. `ids` are their names, in order.
pub fn models<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = b"{\"data\":[".to_vec();
    let mut ends: Option<(&str, &str)> = None;
    for id in ids {
        if ends.is_some() {
            out.push(b',');
        }
        write_model(&mut out, id);
        ends = Some((ends.map_or(id, |(first, _)| first), id));
    }
    out.extend_from_slice(b"],\"has_more\":false,\"first_id\":");
    let nullable = |out: &mut Vec<u8>, id: Option<&str>| match id {
        Some(id) => write::string(out, id),
        None => out.extend_from_slice(b"null"),
    };
    nullable(&mut out, ends.map(|(first, _)| first));
    out.extend_from_slice(b",\"last_id\":");
    nullable(&mut out, ends.map(|(_, last)| last));
    out.push(b'}');
    out
}

/// One model.
pub fn model(id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_model(&mut out, id);
    out
}

/// When it was released is not known: Anthropic's reference has the epoch for that.
fn write_model(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"type\":\"model\",\"id\":");
    write::string(out, id);
    out.extend_from_slice(b",\"display_name\":");
    write::string(out, id);
    out.extend_from_slice(b",\"created_at\":\"1970-01-01T00:00:00Z\",\"lifecycle\":\"active\"}");
}
