//! The engine driven by hand: events go in, actions come out, and time passes only where a test says so.

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod hand;
#[cfg(test)]
mod known;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod worker_time;
