//! What holds for every stream of bytes. Shared by the fuzz target and by the test that replays its seeds.

use bytes::Bytes;
use openai::{Event, Splitter, fuzzing::frame};

const LIMIT: usize = 1 << 20;

/// The first bytes say where the stream is cut: the first how many of them there are, each after it how long a read is.
pub(crate) fn hold(input: &[u8]) {
    let Some((cuts, rest)) = input.split_first() else { return };
    let (reads, stream) = rest.split_at(usize::from(cuts % 16).min(rest.len()));
    let whole = events([stream].into_iter());
    let mut left = stream;
    let split = events(reads.iter().cycle().map_while(|length| {
        let (read, after) = left.split_at(usize::from(*length).max(1).min(left.len()));
        left = after;
        (!read.is_empty()).then_some(read)
    }));
    if reads.is_empty() {
        return whole.iter().for_each(check);
    }
    assert_eq!(whole, split);
    split.iter().for_each(check);
}

fn events<'a>(reads: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut splitter = Splitter::new(LIMIT);
    let mut events = Vec::new();
    for read in reads {
        if splitter.push(Bytes::copy_from_slice(read)).is_err() {
            break;
        }
        while let Some(event) = splitter.next_event() {
            events.push(event);
        }
    }
    events.extend(splitter.finish());
    events
}

/// What is relayed of an event is whole events again, and usage only for those who asked.
fn check(event: &Event) {
    for wants_usage in [false, true] {
        let Ok(read) = frame(event.clone(), wants_usage) else { continue };
        if read.bytes.is_empty() {
            continue;
        }
        let relayed = events([&read.bytes[..]].into_iter());
        assert!(!relayed.is_empty() && relayed.len() <= 2);
        for event in relayed {
            let again = frame(event, wants_usage);
            assert!(again.is_ok(), "what was relayed can be read: {:?}", again.err());
            assert!(wants_usage || again.is_ok_and(|again| again.usage.is_none()));
        }
    }
}
