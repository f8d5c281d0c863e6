//! One page that stands alone.

use crate::experiment::Results;

/// The results as a page of HTML.
pub fn page(_results: &Results) -> String {
    String::new()
}
