//! What came of an experiment, for people: a table for the terminal and a page that stands alone. Programs take the JSON that
//! [`crate::Results`] serialises to.

mod page;
#[cfg(test)]
mod samples;
mod sentence;
mod table;

pub use page::page;
pub use sentence::change_in_a_sentence;
pub use table::table;
