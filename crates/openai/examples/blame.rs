//! Prints `docs/generated/blame.md`: `cargo run -p openai --example blame > docs/generated/blame.md`.
#![expect(clippy::print_stdout, reason = "its output is the page")]

fn main() {
    print!("{}", openai::blame::page());
}
