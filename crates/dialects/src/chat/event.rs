//! The data of a server-sent event, as upstreams write it.

use std::borrow::Cow;

/// What the last event of a chat's stream says.
pub(crate) const DONE: &str = "[DONE]";

/// The data of one event, without white space around it; `None` if it has none. Lines end with LF, CRLF or CR; those that are
/// no data are passed over, and several lines of data are joined by LF. An event of one line of data is not copied.
pub(crate) fn data(event: &[u8]) -> Option<Cow<'_, str>> {
    let event = event.trim_ascii_end();
    let is_one_line = !event.iter().fold(false, |found, byte| found | is_line_end(*byte));
    if is_one_line {
        return Some(text(value(event)?)).filter(|data| !data.is_empty());
    }
    let mut lines = event.split(|byte| is_line_end(*byte)).filter_map(value);
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(text(first)).filter(|data| !data.is_empty()) };
    let mut joined = [first, second].join(&b'\n');
    for line in lines {
        joined.push(b'\n');
        joined.extend_from_slice(line);
    }
    let joined = text(joined.trim_ascii()).into_owned();
    (!joined.is_empty()).then_some(Cow::Owned(joined))
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The value of a line of data. JSON, and the mark of the end, may have white space around.
fn value(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Whatever is no UTF-8 becomes U+FFFD; events are relayed only if all of it is.
fn text(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_common_event_is_not_copied() {
        let event = b"data: {\"choices\":[]}\n\n";
        assert!(matches!(data(event), Some(Cow::Borrowed("{\"choices\":[]}"))));
        assert!(matches!(data(b": ping\ndata: {}\n\n"), Some(Cow::Borrowed("{}"))));
    }

    #[test]
    fn an_event_may_be_written_in_any_way() {
        for event in [
            "data: {\"a\":\ndata:1}\n\n",
            "id: 1\r\nevent: x\r\ndata:{\"a\":\r\ndata: 1}\r\n\r\n",
            ": ping\rdata: {\"a\":\rdatax: 7\rdata:1}\r\r",
        ] {
            let data = data(event.as_bytes()).expect("data");
            assert_eq!(data.split_whitespace().collect::<String>(), "{\"a\":1}", "{event:?}");
        }
        assert_eq!(data(b"data: [DONE]\n\n").as_deref(), Some(DONE));
        assert_eq!(data(b"data: [DONE] \r\n\r\n").as_deref(), Some(DONE));
        for silent in ["", "\n\n", ": ping\n\n", "data\n\n", "data:\n\n", "data: \ndata:\n\n", "event: x\n\n"] {
            assert_eq!(data(silent.as_bytes()), None, "{silent:?}");
        }
    }

    proptest! {
        #[test]
        fn json_on_several_lines_is_the_same_json(
            parts in proptest::collection::vec("[a-z0-9é]{1,8}", 1..6),
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            let lines: String = parts.iter().flat_map(|part| ["data:", part, end]).collect();
            let event = format!("event: x{end}{lines}{end}");
            let data = data(event.as_bytes()).expect("data");
            prop_assert_eq!(data.split_whitespace().collect::<Vec<_>>(), parts);
        }
    }
}
