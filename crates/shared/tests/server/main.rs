//! What replicas share, on a real `redis-server` of each test's own. Ignored where none is installed: `tests/run` installs one.

#[cfg(test)]
mod budgets;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod members;
#[cfg(test)]
mod support;
