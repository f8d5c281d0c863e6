//! The seeds of the fuzz targets, replayed on the stable compiler: what once was found stays found.

use std::{fs, path::Path};

#[path = "../fuzz/properties/messages_request.rs"]
mod messages_request;
#[path = "../fuzz/properties/messages_stream.rs"]
mod messages_stream;
#[path = "../fuzz/properties/responses_request.rs"]
mod responses_request;
#[path = "../fuzz/properties/responses_stream.rs"]
mod responses_stream;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        property(&fs::read(entry.path()).unwrap_or_default());
        replayed += 1;
    }
    assert!(replayed > 10, "there are seeds");
}

#[test]
fn messages_request_seeds_hold() {
    replay("messages_request", messages_request::hold);
}

#[test]
fn messages_stream_seeds_hold() {
    replay("messages_stream", messages_stream::hold);
}

#[test]
fn responses_request_seeds_hold() {
    replay("responses_request", responses_request::hold);
}

#[test]
fn responses_stream_seeds_hold() {
    replay("responses_stream", responses_stream::hold);
}
