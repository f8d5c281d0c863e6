//! Traces: when requests came, and how long their prompts and answers were.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::time::{Nanos, from_seconds, seconds};

/// One request of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When it comes, counted from the trace's start.
    pub at: Nanos,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Tokens of its answer, at least one.
    pub completion_tokens: u32,
}

impl Arrival {
    /// All its tokens.
    pub fn tokens(&self) -> u64 {
        u64::from(self.prompt_tokens) + u64::from(self.completion_tokens)
    }
}

/// Requests in order of time; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    name: String,
    arrivals: Vec<Arrival>,
}

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read or unpacked.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It is a folder.
    #[error("{} is a folder: give the files in it: {}", .0.display(), .0.join("*.jsonl").display())]
    Folder(PathBuf),
    /// The first line names other columns.
    #[error(
        "no trace and no decision log: a trace's first line names the columns t_s, input_tokens and output_tokens, and this one \
         lacks {0}"
    )]
    NoColumn(&'static str),
    /// Lines that mean nothing.
    #[error("{}", bad_lines(.0, *.1))]
    BadLines(Vec<BadLine>, usize),
    /// There is no request in it.
    #[error("the trace holds no request")]
    Empty,
    /// It has more requests than a run can number.
    #[error("the trace holds more than {} requests", u32::MAX)]
    TooLong,
    /// Time cannot be compressed by this factor.
    #[error("time can be compressed by a number above zero, not by {0}")]
    Compression(f64),
}

/// A line of a trace that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub mistake: String,
}

/// Most lines that an error quotes.
const QUOTED: usize = 10;

fn bad_lines(lines: &[BadLine], count: usize) -> String {
    let quoted: Vec<String> = lines.iter().map(|bad| format!("line {}: {}", bad.line, bad.mistake)).collect();
    let more = if count > lines.len() { format!("\nand {} lines more", count - lines.len()) } else { String::new() };
    format!("the trace has lines that are no requests:\n{}{more}", quoted.join("\n"))
}

impl Trace {
    /// A trace of these requests, which are put in order and moved so that the first comes at 0.
    pub fn new(name: impl Into<String>, mut arrivals: Vec<Arrival>) -> Result<Self, TraceError> {
        arrivals.sort_by_key(|arrival| arrival.at);
        let Some(first) = arrivals.first().map(|first| first.at) else { return Err(TraceError::Empty) };
        if u32::try_from(arrivals.len()).is_err() {
            return Err(TraceError::TooLong);
        }
        for arrival in &mut arrivals {
            arrival.at -= first;
            arrival.completion_tokens = arrival.completion_tokens.max(1);
        }
        Ok(Self { name: name.into(), arrivals })
    }

    /// Reads a file of CSV, plain or packed with gzip, whatever it is called.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        Self::parse(&Self::name_of(path), &read_text(path)?)
    }

    /// What the trace in a file is called: the file's name up to its first dot.
    pub fn name_of(path: &Path) -> String {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.split('.').next().unwrap_or_default().to_owned()
    }

    /// Reads CSV with the columns `t_s` (seconds), `input_tokens` and `output_tokens`; others are ignored.
    pub fn parse(name: &str, text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let header = lines.next().map_or("", |(_, line)| line).trim_start_matches('\u{feff}');
        let column = |wanted: &'static str| {
            header.split(',').position(|name| name.trim() == wanted).ok_or(TraceError::NoColumn(wanted))
        };
        let columns = [column("t_s")?, column("input_tokens")?, column("output_tokens")?];
        let (mut arrivals, mut bad, mut count) = (Vec::new(), Vec::new(), 0);
        for (number, line) in lines {
            match request(line, columns) {
                Ok(arrival) => arrivals.push(arrival),
                Err(mistake) => {
                    count += 1;
                    if bad.len() < QUOTED {
                        bad.push(BadLine { line: number + 1, mistake });
                    }
                }
            }
        }
        if count > 0 {
            return Err(TraceError::BadLines(bad, count));
        }
        Self::new(name, arrivals)
    }

    /// The same requests in a `factor`th of the time.
    pub fn compressed(mut self, factor: f64) -> Result<Self, TraceError> {
        if !(factor.is_finite() && factor > 0.0) {
            return Err(TraceError::Compression(factor));
        }
        for arrival in &mut self.arrivals {
            arrival.at = from_seconds(seconds(arrival.at) / factor);
        }
        Ok(self)
    }

    /// What it is called in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The requests, in order of time.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// From the first request to the last.
    pub fn span(&self) -> Nanos {
        self.arrivals.last().map_or(0, |last| last.at)
    }

    /// Requests and tokens a minute, on average.
    pub(crate) fn per_minute(&self) -> (f64, f64) {
        let minutes = seconds(self.span()).max(1.0) / 60.0;
        let tokens: u64 = self.arrivals.iter().map(Arrival::tokens).sum();
        (as_f64(self.arrivals.len() as u64) / minutes, as_f64(tokens) / minutes)
    }
}

/// Reads a text, plain or packed with gzip, whatever the file is called.
pub fn read_text(path: &Path) -> Result<String, TraceError> {
    if path.is_dir() {
        return Err(TraceError::Folder(path.to_owned()));
    }
    let unreadable = |error| TraceError::Unreadable { path: path.to_owned(), error };
    let bytes = fs::read(path).map_err(unreadable)?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        bytes.as_slice().read_to_string(&mut text).map_err(unreadable)?;
    }
    Ok(text)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The request of a line, or what is wrong with it.
fn request(line: &str, [at, input, output]: [usize; 3]) -> Result<Arrival, String> {
    let field = |column: usize, name: &str| {
        line.split(',').nth(column).map(str::trim).ok_or_else(|| format!("{name} is missing"))
    };
    let tokens = |column: usize, name: &str| {
        let text = field(column, name)?;
        text.parse().map_err(|_| format!("{name} is {text:?}, not a whole number of tokens"))
    };
    let text = field(at, "t_s")?;
    let at: f64 = text.parse().map_err(|_| format!("t_s is {text:?}, not a number of seconds"))?;
    if !(at.is_finite() && at >= 0.0) {
        return Err(format!("t_s is {text:?}, not a number of seconds from 0"));
    }
    Ok(Arrival {
        at: from_seconds(at),
        prompt_tokens: tokens(input, "input_tokens")?,
        completion_tokens: tokens(output, "output_tokens")?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "t_s,input_tokens,output_tokens\n1.5,10,3\n0.5,7,0\n2.5,1,1\n";

    fn arrival(at: f64, prompt_tokens: u32, completion_tokens: u32) -> Arrival {
        Arrival { at: from_seconds(at), prompt_tokens, completion_tokens }
    }

    #[test]
    fn requests_come_in_order_from_zero_and_answer_at_least_a_token() {
        let trace = Trace::parse("t", TEXT).unwrap();
        assert_eq!(trace.arrivals(), [arrival(0.0, 7, 1), arrival(1.0, 10, 3), arrival(2.0, 1, 1)]);
        let faster = trace.compressed(2.0).unwrap();
        assert_eq!(faster.arrivals()[1], arrival(0.5, 10, 3));
        assert_eq!(faster.span(), from_seconds(1.0));
    }

    #[test]
    fn columns_may_stand_anywhere_and_others_beside_them() {
        let trace = Trace::parse("t", "output_tokens,who,t_s,input_tokens\r\n3,x,1,10\r\n").unwrap();
        assert_eq!(trace.arrivals(), [arrival(0.0, 10, 3)]);
    }

    #[test]
    fn each_bad_line_is_named_with_its_number() {
        let text = "t_s,input_tokens,output_tokens\n0,1,1\n\nx,1,1\n1,-2,1\n2,3\n-1,1,1\n";
        let error = Trace::parse("t", text).unwrap_err().to_string();
        for line in [
            "line 4: t_s is \"x\"",
            "line 5: input_tokens is \"-2\"",
            "line 6: output_tokens is missing",
            "line 7: t_s is \"-1\"",
        ] {
            assert!(error.contains(line), "{error}");
        }
        let many = format!("t_s,input_tokens,output_tokens\n{}", "x\n".repeat(15));
        assert!(Trace::parse("t", &many).unwrap_err().to_string().contains("and 5 lines more"));
    }

    #[test]
    fn what_is_no_trace_says_so() {
        assert!(matches!(Trace::parse("t", "a,b\n1,2\n"), Err(TraceError::NoColumn("t_s"))));
        assert!(matches!(Trace::parse("t", "t_s,input_tokens,output_tokens\n"), Err(TraceError::Empty)));
        let trace = Trace::parse("t", TEXT).unwrap();
        assert!(matches!(trace.compressed(0.0), Err(TraceError::Compression(_))));
        assert!(matches!(Trace::read(Path::new("no-such-trace.csv")), Err(TraceError::Unreadable { .. })));
    }

    #[test]
    fn packed_and_plain_files_are_read_alike() {
        let folder = std::env::temp_dir().join(format!("simulator-trace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (plain, packed) = (folder.join("a.csv"), folder.join("a.csv.gz"));
        fs::write(&plain, TEXT).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        fs::write(&packed, encoder.finish().unwrap()).unwrap();
        assert_eq!(Trace::read(&plain).unwrap(), Trace::read(&packed).unwrap());
        fs::write(&packed, [0x1f, 0x8b, 1, 2]).unwrap();
        assert!(matches!(Trace::read(&packed), Err(TraceError::Unreadable { .. })));
        fs::remove_dir_all(folder).unwrap();
    }
}
