use std::convert::Infallible;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use proptest::prelude::*;
use provider::Usage;

use super::*;
use crate::OpenAiDialect;

type Relayed = (Vec<(Bytes, FrameKind, Option<Usage>)>, Option<String>);

/// What a stream in these reads becomes, with at most `templates` templates made: its frames, and the error that ended it.
fn relayed(reads: &[&[u8]], templates: u8) -> Relayed {
    let reads: Vec<_> = reads.iter().map(|read| Ok::<_, Infallible>(Bytes::copy_from_slice(read))).collect();
    let body = Box::pin(stream::iter(reads));
    let mut frames = SseFrames::new(
        body,
        (UsageFor::Client, ReasoningField::Both),
        &MemoryBudget::default(),
        &OpenAiDialect,
        Ends::new(1),
    );
    frames.templates_left = templates;
    all(&mut frames)
}

fn all(frames: &mut SseFrames<impl Stream<Item = Result<Bytes, Infallible>>>) -> Relayed {
    let (mut relayed, mut error) = (Vec::new(), None);
    while let Some(frame) = frames.next().now_or_never().expect("every read is there") {
        match frame {
            Ok(frame) => relayed.push((frame.bytes, frame.kind, frame.usage)),
            Err(failed) => error = Some(failed.to_string()),
        }
    }
    (relayed, error)
}

/// Events of one stream, which differ in their text, and some that differ in more.
fn event() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        4 => "[a-zé€\u{1f600} ,]{0,6}",
        1 => r#"(\\n|\\"|\\u00e9|\\ud83d|\\x|\\)"#,
        1 => "[\"\u{1}\n\r\u{7f}]",
    ];
    let rest = prop_oneof![
        6 => Just((r#"},"finish_reason":null}]}"#, "\n\n")),
        1 => Just((r#"},"finish_reason":null}]}"#, "\r\n\r\n")),
        1 => Just((r#"},"finish_reason":null}]}"#, "\r\r")),
        1 => Just((r#"},"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#, "\n\n")),
        1 => Just((r#"},"finish_reason":"stop"}]}"#, "\n\n")),
        1 => Just((r#"},"finish_reason":null}],"error":{"message":"x"}}"#, "\n\n")),
        1 => Just((r#","role":"assistant"},"finish_reason":null}]}"#, "\n")),
    ];
    let start = prop_oneof![
        6 => Just(r#"data: {"choices":[{"delta":{"content":""#),
        3 => Just(r#"data: {"choices":[{"delta":{"reasoning":""#),
        1 => Just(r#"data: {"choices":[{"delta":{"role":""#),
        1 => Just("\ndata: {\"choices\":[{\"delta\":{\"content\":\""),
        1 => Just("id: 7\ndata: {\"choices\":[{\"delta\":{\"content\":\""),
        1 => Just(": ping\n\ndata: {\"choices\":[{\"delta\":\ndata: {\"content\":\""),
    ];
    (start, text, rest).prop_map(|(start, text, (rest, end))| format!("{start}{text}\"{rest}{end}"))
}

proptest! {
    /// Whether events are recognised by a template or all are read as JSON is not to be seen.
    #[test]
    fn a_template_changes_nothing(
        events in proptest::collection::vec(event(), 0..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = events.concat() + "data: [DONE]\n\n";
        // No text that is not UTF-8 comes out of the strategies.
        let text: Vec<u8> = text.bytes().map(|byte| if byte == 0x7f { 0xff } else { byte }).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let reads: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(relayed(&reads, MAX_TEMPLATES), relayed(&reads, 0));
    }
}

#[test]
fn events_that_differ_in_their_text_alone_are_read_once() {
    let like = |text: &str| format!(r#"data: {{"id":"c","choices":[{{"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    let event = like("Hello");
    let at = event.find("Hello").expect("there");
    let template = Template::new(event.as_bytes(), at..at + 5).expect("short");
    let with_next = like(" wörld") + &like("!");
    assert_eq!(template.matches(with_next.as_bytes()), Some(like(" wörld").len()));
    for other in
        [like(""), like(r"\n"), like("\n"), like("x").replace(r#""c""#, r#""d""#), like("x").replace("}]}", "}],}")]
    {
        assert_eq!(template.matches(other.as_bytes()), None, "{other}");
    }
}

/// Texts with escapes do not match, but their template is the same.
#[test]
fn a_stream_of_one_shape_has_one_template() {
    let event = |text: &str| format!(r#"data: {{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n";
    let reads = [event(r"\n").repeat(20) + &event("Hello")].map(|read| Ok(Bytes::from(read)));
    let body = Box::pin(stream::iter(reads));
    let mut frames = SseFrames::new(
        body,
        (UsageFor::Client, ReasoningField::Upstream),
        &MemoryBudget::default(),
        &OpenAiDialect,
        Ends::new(1),
    );
    let (relayed, _) = all(&mut frames);
    assert_eq!((relayed.len(), frames.templates_left), (21, MAX_TEMPLATES - 1));
    assert!(frames.template.is_some_and(|template| template.matches(event("wörld").as_bytes()).is_some()));
}
