//! What replicas share, on a real `redis-server` of each test's own. Ignored where none is installed: `tests/run` installs one.

mod budgets;
mod limits;
mod members;
mod support;
