//! Cases of `docs/reliability.md` that no other test covers: an upstream that answers oddly or not at all, clients that
//! leave, keys on every route, and requests that a second reader might take for others.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod in_turn;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod unreachable;
#[cfg(test)]
mod wire;
