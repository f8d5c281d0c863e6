//! A stream reduced to its text: `data: {"chunk": "…"}` for each piece of content, then `data: [DONE]`.

use bytes::Bytes;
use provider::{Choice, Completion, Frame, FrameKind};
use serde::Serialize;

/// The event for a frame; empty if it carries no text.
pub(crate) fn event(frame: &Frame) -> Bytes {
    match frame.kind {
        FrameKind::Done => Bytes::from_static(b"data: [DONE]\n\n"),
        FrameKind::Content | FrameKind::Finish => text_of(&frame.bytes).map_or_else(Bytes::new, |text| chunk(&text)),
        FrameKind::Opening | FrameKind::Usage | FrameKind::Whole => Bytes::new(),
    }
}

fn chunk(text: &str) -> Bytes {
    #[derive(Serialize)]
    struct Chunk<'a> {
        chunk: &'a str,
    }
    // A plain string always serialises.
    let json = serde_json::to_string(&Chunk { chunk: text }).unwrap_or_default();
    Bytes::from(format!("data: {json}\n\n"))
}

/// The text of the first answer in an event; `None` if there is none.
fn text_of(event: &[u8]) -> Option<String> {
    let lines = event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let data = lines.collect::<Vec<_>>().join(&b'\n');
    let completion = Completion::read(&String::from_utf8_lossy(&data)).ok()?;
    let text: String = completion.choices().filter(|choice| choice.index() == 0).map(Choice::text).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: FrameKind, bytes: &'static str) -> String {
        let frame = Frame { bytes: Bytes::from_static(bytes.as_bytes()), kind, usage: None };
        String::from_utf8(event(&frame).to_vec()).expect("text")
    }

    #[test]
    fn only_text_is_shown() {
        let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"say \\\"hi\\\"\\n\"}}]}\n\n";
        assert_eq!(shown(FrameKind::Content, content), "data: {\"chunk\":\"say \\\"hi\\\"\\n\"}\n\n");
        let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
        assert_eq!(shown(FrameKind::Opening, role), "");
        let reasoning = "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n";
        assert_eq!(shown(FrameKind::Content, reasoning), "");
        assert_eq!(shown(FrameKind::Usage, "data: {\"choices\":[],\"usage\":{}}\n\n"), "");
        assert_eq!(shown(FrameKind::Done, "data: [DONE]\n\n"), "data: [DONE]\n\n");
    }

    #[test]
    fn an_event_may_be_written_in_any_way() {
        let events = [
            "data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"a\"}}]}\n\n",
            "id: 1\r\nevent: x\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n",
            ": ping\rdata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\r",
            "data: {\"choices\":[{\"delta\":7},{\"index\":1,\"delta\":{\"content\":\"b\"}},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        ];
        for event in events {
            assert_eq!(shown(FrameKind::Content, event), "data: {\"chunk\":\"a\"}\n\n", "{event:?}");
        }
        assert_eq!(shown(FrameKind::Content, "data: nonsense\n\n"), "");
    }
}
