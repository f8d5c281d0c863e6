//! Files and drops of the decision log. That records come through whole is tested end to end.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dispatch::{Record, RequestEnded, RequestOutcome};
use prometheus::IntCounter;
use settings::DecisionLog;

use super::{LogCounters, files::Files, log::Log};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llm-router-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    fn settings(&self, max_file_bytes: u64, max_file_age: Duration, keep_files: usize) -> DecisionLog {
        DecisionLog { folder: self.0.clone(), max_file_bytes, max_file_age, keep_files }
    }

    /// The contents of the files, in the order of their names.
    fn contents(&self) -> Vec<String> {
        let mut paths: Vec<_> = fs::read_dir(&self.0).expect("the folder").map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("a file")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

const DAY: Duration = Duration::from_hours(24);

fn write(files: &mut Files, line: &str) {
    if files.fitting(line.as_bytes()) == 0 {
        files.rotate("v2").expect("the next file");
    }
    files.write(line.as_bytes()).expect("written");
}

#[test]
fn a_file_that_is_full_is_followed_by_the_next_one_and_the_oldest_are_removed() {
    let folder = Folder::new("decisions-size");
    let mut files = Files::open(folder.settings(110, DAY, 2), "v1").expect("opened");
    fs::write(folder.0.join("decisions-notes.txt"), "of somebody else").expect("written");
    let line = format!("{}\n", "x".repeat(39));
    for _ in 0..5 {
        write(&mut files, &line);
    }
    let contents = folder.contents();
    assert_eq!(contents.len(), 3, "two files of ours and one of somebody else: {contents:?}");
    for text in &contents[..2] {
        let head: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!((&head["format"], &head["config_version"]), (&1.into(), &"v2".into()));
        assert!(text.len() <= 110 && text.ends_with(&line), "{text:?}");
    }
}

#[test]
fn a_file_that_is_old_is_followed_by_the_next_one_but_not_while_it_is_empty() {
    let folder = Folder::new("decisions-age");
    let mut files = Files::open(folder.settings(1000, Duration::ZERO, 9), "v1").expect("opened");
    write(&mut files, "a\n");
    assert_eq!(folder.contents().len(), 1);
    write(&mut files, "b\n");
    let contents = folder.contents();
    assert_eq!(contents.iter().map(|text| text.lines().last()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
}

#[test]
fn a_start_and_a_stop_without_a_request_leave_no_file() {
    let folder = Folder::new("decisions-empty");
    drop(Files::open(folder.settings(1000, DAY, 9), "v1").expect("opened"));
    assert_eq!(folder.contents(), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = Folder::new("decisions-file");
    fs::write(&folder.0, "a file").expect("written");
    let below = DecisionLog { folder: folder.0.join("below"), ..folder.settings(1000, DAY, 9) };
    let error = Files::open(below, "v1").err().expect("no folder").to_string();
    assert!(error.contains("decisions-file"), "{error}");
    fs::remove_file(&folder.0).expect("removed");
}

fn counters() -> LogCounters {
    let counter = |name| IntCounter::new(name, "help").expect("a counter");
    LogCounters { written: counter("written"), dropped: counter("dropped"), failed: counter("failed") }
}

/// A record of a request that nobody served.
fn record() -> Record {
    let app = crate::running::test_app();
    let model = app.router.table().models().next().expect("a model").clone();
    let info = dispatch::RequestInfo {
        request_id: "r".into(),
        number: 1,
        route: dispatch::Route::Chat,
        stream: false,
        model: None,
        key: None,
        team: None,
        tags: None,
        requested: None,
    };
    let outcome = RequestOutcome::Unavailable("no_upstream");
    let request = RequestEnded::refused(info, outcome, Duration::from_secs(1), "v3".into());
    let facts = router::Facts {
        operation: provider::Operation::Chat,
        stream: false,
        features: provider::Features::default(),
        body_bytes: 100,
        prompt_tokens: 25,
        audio_ms: 0,
        max_tokens: None,
        choices: 1,
        in_batch: false,
        team: None,
        conversation: None,
        wishes: router::Wishes::NONE,
    };
    let ended = Some(dispatch::Closed { model, facts, request });
    Record { ended, ..Record::default() }
}

fn push(log: &Log, record: &Record, times: usize) {
    (0..times).for_each(|_| log.push(record, 1_795_522_701.5));
}

#[test]
fn what_was_recorded_before_a_stop_is_written() {
    let folder = Folder::new("decisions-stop");
    let counters = counters();
    let log = Log::open(folder.settings(1 << 20, DAY, 9), "v1", counters.clone()).expect("opened");
    push(&log, &record(), 100);
    drop(log);
    let contents = folder.contents();
    let lines: Vec<_> = contents.iter().flat_map(|text| text.lines().skip(1)).collect();
    assert_eq!((lines.len(), counters.written.get()), (100, 100));
    let record: serde_json::Value = serde_json::from_str(lines[99]).expect("JSON");
    assert_eq!((&record["ts"], &record["error"]), (&1_795_522_700.5.into(), &"no_upstream".into()), "when it came");
    assert_eq!(record["decision"]["config_version"], "v3");
}

#[test]
fn lines_that_come_at_once_fill_file_after_file() {
    let folder = Folder::new("decisions-batch");
    let counters = counters();
    let log = Log::open(folder.settings(4096, DAY, 99), "v1", counters.clone()).expect("opened");
    push(&log, &record(), 100);
    drop(log);
    let contents = folder.contents();
    assert_eq!(
        (contents.iter().map(|text| text.lines().count() - 1).sum::<usize>(), counters.written.get()),
        (100, 100)
    );
    assert!(contents.len() > 5 && contents.iter().all(|text| text.len() <= 4096), "{contents:?}");
    assert!(
        contents[1].starts_with("{\"format\":1") && contents[1].contains("\"config_version\":\"v3\""),
        "{}",
        contents[1]
    );
}

#[test]
fn a_line_that_is_longer_than_a_file_may_be_is_written() {
    let folder = Folder::new("decisions-long");
    let counters = counters();
    let log = Log::open(folder.settings(100, DAY, 99), "v1", counters.clone()).expect("opened");
    push(&log, &record(), 3);
    drop(log);
    assert_eq!((folder.contents().len(), counters.written.get()), (3, 3));
}

/// A pipe that nobody reads stands for a disk that hangs.
#[test]
fn while_the_disk_hangs_records_are_dropped_and_counted_and_nobody_waits() {
    let folder = Folder::new("decisions-drops");
    fs::create_dir(&folder.0).expect("a folder");
    let pipe = folder.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    let (counters, record) = (counters(), record());
    let files = Files::onto(&pipe, folder.settings(1 << 30, DAY, 9)).expect("opened");
    let log = Log::start(files, counters.clone()).expect("started");
    let mut pushed = 0;
    while counters.dropped.get() < 1000 {
        push(&log, &record, 1000);
        pushed += 1000;
    }
    // Reading for as long as the test runs lets the writer end.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    drop(log);
    assert_eq!((counters.written.get() + counters.dropped.get(), counters.failed.get()), (pushed, 0));
}

/// A device that is always full stands for a disk that is.
#[test]
fn what_a_full_disk_does_not_take_is_counted_and_nothing_else_happens() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let folder = Folder::new("decisions-full");
    let counters = counters();
    let files = Files::onto(Path::new("/dev/full"), folder.settings(1 << 20, DAY, 9)).expect("opened");
    let log = Log::start(files, counters.clone()).expect("started");
    push(&log, &record(), 10);
    drop(log);
    assert_eq!((counters.written.get(), counters.failed.get()), (0, 10));
}
