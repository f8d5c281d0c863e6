//! A wall clock that jumps while the router runs: limits, pauses and durations are of the monotonic clock and do not notice.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::Command,
};

use crate::{
    router::{KEY, Router, SLOW_KEY, eventually, folder, header, status},
    wire::listen,
};

const LIMITED: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

const HOUR: i64 = 3600;
const MONTH: i64 = 31 * 24 * HOUR;

/// The year and all of the date that a jump changes.
fn day_and_hour(router: &Router) -> String {
    let answer = router.chat(KEY);
    header(&answer, "date").get(..19).unwrap_or_default().to_owned()
}

#[test]
fn a_wall_clock_that_jumps_moves_no_limit_and_no_pause() {
    let folder = folder();
    let (shim, offset) = (folder.join("clock.so"), folder.join("offset"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/clock.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).status().unwrap();
    assert!(made.success(), "cc links every test of Rust, and this library");
    let jump = |seconds: i64| {
        let next = folder.join("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, &offset).unwrap();
    };
    jump(0);
    let (addr, calls) = listen(|mut socket, record| {
        let mut buffer = [0; 4096];
        let length = socket.read(&mut buffer).unwrap_or(0);
        record.push(&buffer[..length]);
        drop(socket.write_all(LIMITED.as_bytes()));
    });
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("CLOCK_OFFSET_FILE", offset.to_str().unwrap())];
    let router = Router::start(&format!("http://{addr}/v1"), &environment, "");

    // The first upstream is limited for a minute from here on, and the key that may ask once has asked.
    assert_eq!(header(&router.chat(KEY), "x-llm-router-upstream"), "second");
    assert_eq!(calls.len(), 1);
    assert_eq!(status(&router.chat(SLOW_KEY)), "200");
    let mut before = day_and_hour(&router);
    for seconds in [HOUR, -HOUR, MONTH, -MONTH, 12 * MONTH, 0] {
        jump(seconds);
        let now = eventually("the clock has jumped", || {
            let now = day_and_hour(&router);
            (now != before).then_some(now)
        });
        before = now;
        let limited = router.chat(SLOW_KEY);
        assert_eq!(status(&limited), "429", "{seconds}: {limited}");
        let wait: u64 = header(&limited, "retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{seconds}: {limited}");
        let served = router.chat(KEY);
        assert_eq!(
            (status(&served), header(&served, "x-llm-router-upstream")),
            ("200", "second"),
            "{seconds}: {served}"
        );
        assert_eq!(calls.len(), 1, "{seconds}: a limited upstream is left alone");
    }
    let metrics = router.metrics();
    let sums = metrics.lines().filter(|line| line.contains("_seconds_sum"));
    let sums: Vec<f64> = sums.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(!sums.is_empty() && sums.iter().all(|sum| (0.0..60.0).contains(sum)), "{metrics}");
    drop(fs::remove_dir_all(folder));
}
