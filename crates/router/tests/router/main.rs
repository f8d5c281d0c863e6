//! The engine step by step: a test passes events in, checks the actions that come out, and moves the time itself.

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
mod hedge;
#[cfg(test)]
mod hold;
#[cfg(test)]
mod known;
#[cfg(test)]
mod late;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod reloads;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod teams;
#[cfg(test)]
mod warm_up;
#[cfg(test)]
mod wishes;
#[cfg(test)]
mod worker_time;
