//! Files that end or continue in ways that no writer intended.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use proptest::prelude::*;

use super::{Folder, Journal, Position, Reader, file::HEADER, frame, orphans};
use crate::{
    entry::{Entry, RequestKey},
    tests::{Ignored, Scratch, entries},
};

/// The file of a journal with so many requests, whose process is gone.
fn written(scratch: &Scratch, requests: u64) -> PathBuf {
    let journal = Journal::open(&scratch.journal(), 7, Arc::new(Ignored)).expect("a journal");
    (1..=requests).for_each(|number| drop(journal.append(&entries(7, number))));
    let file = journal.folder().file(0);
    drop(journal);
    file
}

fn the_orphan(scratch: &Scratch) -> Folder {
    orphans(&scratch.journal().folder).expect("a folder").pop().expect("an orphan")
}

/// The numbers of the requests in a journal, up to the file of this number.
fn requests(folder: &Folder, last: u64) -> Vec<u64> {
    let mut reader = Reader::new(0);
    let mut numbers = Vec::new();
    while let Some(chunk) = reader.next(folder, Position { file: last, bytes: u64::MAX }).expect("read") {
        numbers.extend(chunk.entries().flatten().filter_map(|(entry, _)| match entry {
            Entry::Request(request) => Some(request.key.number),
            Entry::Intent(_) | Entry::Attempt(_) | Entry::GpuHour(_) => None,
        }));
    }
    numbers
}

#[test]
fn entries_come_back_as_they_were() {
    let [intent, attempt, request] = entries(u64::MAX >> 1, u64::MAX);
    let (tags, requested) = (Some("env=prod,feature=search"), Some("claude-opus-4-5"));
    for (tags, requested) in [(None, None), (tags, None), (None, requested), (tags, requested)] {
        for mut entry in [intent.clone(), attempt.clone(), request.clone()] {
            let labels = entry.labels_mut().expect("somebody's");
            (labels.tags, labels.requested) = (tags, requested);
            let mut bytes = Vec::new();
            assert!(frame::encode(&entry, &mut bytes));
            let frame::Frame::Whole(payload, length) = frame::first(&bytes) else { panic!("no frame") };
            assert_eq!((frame::decode(payload), length), (Some(entry), bytes.len()));
        }
    }
}

/// A killed process of an earlier version left a journal whose entries end where tags would begin.
#[test]
fn an_entry_without_tags_ends_where_tags_would_begin() {
    for mut entry in entries(1, 2) {
        let whole = postcard::to_stdvec(&entry).expect("bytes");
        assert_eq!(frame::decode(&whole), Some(entry.clone()));
        entry.labels_mut().expect("somebody's").tags = Some("a=b");
        let mut bytes = Vec::new();
        assert!(frame::encode(&entry, &mut bytes));
        assert_eq!(bytes[8..][..whole.len()], whole, "what an earlier version reads");
    }
}

/// The same of the version that knew tags: what it wrote is read, and it reads the tags of what is written now.
#[test]
fn an_entry_without_a_requested_name_ends_where_that_would_begin() {
    for mut entry in entries(1, 2) {
        let mut whole = postcard::to_stdvec(&entry).expect("bytes");
        entry.labels_mut().expect("somebody's").tags = Some("a=b");
        whole.extend(postcard::to_stdvec("a=b").expect("bytes"));
        assert_eq!(frame::decode(&whole), Some(entry.clone()));
        entry.labels_mut().expect("somebody's").requested = Some("gpt-4o");
        let mut bytes = Vec::new();
        assert!(frame::encode(&entry, &mut bytes));
        assert_eq!(bytes[8..][..whole.len()], whole, "what the earlier version reads");
    }
}

/// The machine lost power amid a write, or the disk was full.
#[test]
fn a_file_that_was_cut_anywhere_has_all_that_is_whole() {
    let scratch = Scratch::new("cut");
    let file = written(&scratch, 3);
    let whole = fs::read(&file).expect("a file");
    let each = (whole.len() - HEADER.len()) / 3;
    let folder = the_orphan(&scratch);
    for length in 0..=whole.len() {
        fs::write(&file, &whole[..length]).expect("written");
        let expected = length.saturating_sub(HEADER.len()) / each;
        assert_eq!(requests(&folder, 0).len(), expected, "cut at {length}");
    }
}

#[test]
fn zeros_at_the_end_are_no_entries() {
    let scratch = Scratch::new("zeros");
    let file = written(&scratch, 3);
    OpenOptions::new().append(true).open(&file).expect("a file").write_all(&[0; 4096]).expect("written");
    assert_eq!(requests(&the_orphan(&scratch), 0), [1, 2, 3]);
}

#[test]
fn after_a_damaged_file_the_next_one_is_read() {
    let scratch = Scratch::new("damaged");
    let file = written(&scratch, 3);
    let mut bytes = fs::read(&file).expect("a file");
    let folder = the_orphan(&scratch);
    fs::write(folder.file(1), &bytes).expect("written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("written");
    assert_eq!(requests(&folder, 1), [1, 1, 2, 3]);
}

#[test]
fn a_file_of_another_version_is_an_error() {
    let scratch = Scratch::new("version");
    let file = written(&scratch, 1);
    let mut bytes = fs::read(&file).expect("a file");
    bytes[HEADER.len() - 1] += 1;
    fs::write(&file, &bytes).expect("written");
    let end = Position { file: 0, bytes: u64::MAX };
    let error = Reader::new(0).next(&the_orphan(&scratch), end).err().expect("refused");
    assert!(error.to_string().contains("another version"), "{error}");
}

proptest! {
    /// Whatever stands there is read without a panic, and never as an entry that nobody wrote.
    #[test]
    fn no_bytes_are_taken_for_what_they_are_not(mut bytes in prop::collection::vec(any::<u8>(), 0..256), flip in any::<u16>()) {
        let _any = frame::first(&bytes);
        let mut whole = Vec::new();
        prop_assert!(frame::encode(&entries(1, 2)[2], &mut whole));
        let at = usize::from(flip) % whole.len();
        whole[at] ^= 1 << (flip % 8);
        whole.append(&mut bytes);
        if let frame::Frame::Whole(payload, _) = frame::first(&whole) {
            let read = frame::decode(payload);
            let is_written = matches!(&read, Some(Entry::Request(request)) if request.key == RequestKey { writer: 1, number: 2 });
            prop_assert!(!is_written);
        }
    }
}
