//! Progress on standard error: a bar on a terminal, now and then a line elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cli::counted;

/// The bar's length, in characters.
const BAR: usize = 30;

/// How often a bar is drawn at most.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a log gets a line at most.
const LINE: Duration = Duration::from_secs(10);

/// Shows how far it is with the runs, and with what no router can pass in each scenario.
pub(super) struct Progress {
    is_terminal: bool,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    shown: Instant,
    /// The most that any thread has reported as done.
    done: usize,
}

impl Progress {
    pub(super) fn start() -> Self {
        let (is_terminal, now) = (stderr().is_terminal(), Instant::now());
        if is_terminal {
            print("\rsimulating ...");
        }
        Self { is_terminal, started: now, state: Mutex::new(State { shown: now, done: 0 }) }
    }

    /// So much is done; called from any thread.
    pub(super) fn show(&self, done: usize, all: usize) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.done = state.done.max(done);
        if now - state.shown < if self.is_terminal { REDRAW } else { LINE } {
            return;
        }
        state.shown = now;
        let elapsed = now - self.started;
        print(&if self.is_terminal { bar(state.done, all, elapsed) } else { line(state.done, all, elapsed) });
    }

    /// All is done. So many of the pieces of work were limits, the others were runs.
    pub(super) fn end(self, limits: usize) {
        let (done, elapsed) = (self.state.into_inner().done, self.started.elapsed());
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        let (runs, limits) = (counted(done.saturating_sub(limits), "run"), counted(limits, "limit"));
        print(&format!("{clear}{runs} and {limits} in {:.1} s\n", elapsed.as_secs_f64()));
    }
}

/// Progress that cannot be shown stops nothing.
fn print(text: &str) {
    let mut out = stderr().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn bar(done: usize, all: usize, elapsed: Duration) -> String {
    let full = (done * BAR / all.max(1)).min(BAR);
    let (full, rest) = ("#".repeat(full), "-".repeat(BAR - full));
    format!("\rsimulating [{full}{rest}] {done}/{all} runs and limits, {} s\x1b[K", elapsed.as_secs())
}

fn line(done: usize, all: usize, elapsed: Duration) -> String {
    format!("simulating: {done} of {all} runs and limits, {} s\n", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_from_nothing_to_all_and_stays_in_its_line() {
        let drawn = |done| bar(done, 6, Duration::from_secs(3));
        assert!(drawn(0).contains(&format!("[{}] 0/6 runs and limits, 3 s", "-".repeat(BAR))));
        assert!(drawn(3).contains(&format!("[{}{}] 3/6", "#".repeat(BAR / 2), "-".repeat(BAR / 2))));
        assert!(drawn(6).contains(&format!("[{}] 6/6", "#".repeat(BAR))));
        assert!(drawn(3).starts_with('\r') && !drawn(3).contains('\n'));
    }

    #[test]
    fn a_log_gets_whole_lines_without_control_characters() {
        assert_eq!(line(3, 6, Duration::from_secs(12)), "simulating: 3 of 6 runs and limits, 12 s\n");
    }
}
