//! Answers through Anthropic's Messages API: recorded ones, and any.

// The modules say `cfg(test)` for clippy, which allows `expect` there.
#[cfg(test)]
mod any;
#[cfg(test)]
#[path = "../support/chats.rs"]
mod chats;
#[cfg(test)]
mod golden;
#[cfg(test)]
#[path = "../support/message_events.rs"]
mod message_events;
#[cfg(test)]
#[path = "../../../provider/tests/support/property.rs"]
mod property;
#[cfg(test)]
mod translated;
