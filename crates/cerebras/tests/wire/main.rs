//! Calls against a server that plays Cerebras' answers: the headers sent, what a second call leaves out, and the stream
//! with usage on its finish.

// The modules say `cfg(test)` for clippy, which allows `expect` there.
#[cfg(test)]
mod calls;
#[cfg(test)]
#[path = "../../../openai/tests/support/server.rs"]
mod server;
