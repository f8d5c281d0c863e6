//! Writes each event.

use super::{Kind, Open, Stage, Stream};
use crate::{
    Blocks,
    chat::write,
    messages::{
        Problem,
        block::{self, SIGNATURE},
        ending, error,
    },
};

impl Stream {
    /// Appends the event for an answer that breaks. Nothing follows it.
    pub fn broken(&mut self, problem: &Problem<'_>, out: &mut Blocks) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let out = out.end();
        write::event(out, "error");
        error::write_error(out, problem);
        write::end_of_event(out);
    }

    /// An event that keeps a silent connection open. It may stand between any two others.
    pub const fn ping(&self) -> &'static [u8] {
        b"event: ping\ndata: {\"type\":\"ping\"}\n\n"
    }

    pub(super) fn start(&mut self, out: &mut Blocks) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let out = out.end();
        write::event(out, "message_start");
        out.extend_from_slice(b"{\"type\":\"message_start\",\"message\":{\"id\":");
        block::message_id(out, &self.id);
        out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
        write::string(out, &self.asked.model);
        out.extend_from_slice(b",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        ending::usage(out, &ending::estimated(self.estimated_input_tokens, 0));
        out.extend_from_slice(b"}}");
        write::end_of_event(out);
    }

    pub(super) fn end(&mut self, out: &mut Blocks) {
        self.start(out);
        self.end_blocks(out);
        self.is_over = true;
        let out = out.end();
        write::event(out, "message_delta");
        out.extend_from_slice(b"{\"type\":\"message_delta\",\"delta\":{");
        self.ending.write(out);
        out.extend_from_slice(b"},\"usage\":");
        let estimated = || ending::estimated(self.estimated_input_tokens, self.said);
        ending::usage(out, &self.usage.unwrap_or_else(estimated));
        out.push(b'}');
        write::end_of_event(out);
        write::event(out, "message_stop");
        out.extend_from_slice(b"{\"type\":\"message_stop\"}");
        write::end_of_event(out);
    }

    pub(super) fn open_text(&mut self, kind: Kind, out: &mut Blocks) {
        if self.open == Some(Open::Said(kind)) {
            return;
        }
        self.open(Open::Said(kind), out);
        let out = out.end();
        out.extend_from_slice(match kind {
            Kind::Thinking => b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}".as_slice(),
            Kind::Text => b"{\"type\":\"text\",\"text\":\"\"}}",
        });
        write::end_of_event(out);
    }

    /// Opens the call with the position `at` and passes on what is known of its arguments.
    pub(super) fn open_call(&mut self, at: usize, out: &mut Blocks) {
        self.open(Open::Call(at), out);
        self.held_calls[at].stage = Stage::Open;
        let start = out.end();
        start.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
        match self.calls.id(at) {
            [] => start.extend_from_slice(&block::call_id(None, &self.id, at)),
            own => start.extend_from_slice(own),
        }
        start.extend_from_slice(b"\",\"name\":\"");
        start.extend_from_slice(self.calls.name(at));
        start.extend_from_slice(b"\",\"input\":{}}}");
        write::end_of_event(start);
        let arguments = self.held.take_arguments(&mut self.held_calls[at]);
        if !arguments.is_empty() {
            self.delta(out, |out| out.absorb(arguments));
        }
    }

    /// Closes what is open and begins the event that opens `block`, which follows.
    fn open(&mut self, block: Open, out: &mut Blocks) {
        self.close(out);
        self.open = Some(block);
        let out = out.end();
        write::event(out, "content_block_start");
        out.extend_from_slice(b"{\"type\":\"content_block_start\",\"index\":");
        write::number(out, self.blocks);
        out.extend_from_slice(b",\"content_block\":");
        self.blocks += 1;
    }

    pub(super) fn close(&mut self, out: &mut Blocks) {
        let Some(open) = self.open.take() else { return };
        let out = out.end();
        match open {
            Open::Call(at) => self.held_calls[at].stage = Stage::Closed,
            Open::Said(Kind::Text) => {}
            Open::Said(Kind::Thinking) => {
                self.begin_delta(out);
                out.extend_from_slice(b"\"signature_delta\",\"signature\":");
                write::string(out, SIGNATURE);
                out.extend_from_slice(b"}}");
                write::end_of_event(out);
            }
        }
        write::event(out, "content_block_stop");
        out.extend_from_slice(b"{\"type\":\"content_block_stop\",\"index\":");
        write::number(out, self.blocks - 1);
        out.push(b'}');
        write::end_of_event(out);
    }

    /// Adds what `copy` writes, as it stands between quotes, to the open block.
    pub(super) fn delta(&self, out: &mut Blocks, copy: impl FnOnce(&mut Blocks)) {
        let start = out.end();
        self.begin_delta(start);
        start.extend_from_slice(match self.open {
            Some(Open::Said(Kind::Thinking)) => b"\"thinking_delta\",\"thinking\":\"".as_slice(),
            Some(Open::Call(_)) => b"\"input_json_delta\",\"partial_json\":\"",
            Some(Open::Said(Kind::Text)) | None => b"\"text_delta\",\"text\":\"",
        });
        copy(out);
        let end = out.end();
        end.extend_from_slice(b"\"}}");
        write::end_of_event(end);
    }

    fn begin_delta(&self, out: &mut Vec<u8>) {
        write::event(out, "content_block_delta");
        out.extend_from_slice(b"{\"type\":\"content_block_delta\",\"index\":");
        write::number(out, self.blocks - 1);
        out.extend_from_slice(b",\"delta\":{\"type\":");
    }
}
