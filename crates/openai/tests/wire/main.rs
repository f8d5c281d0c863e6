//! Calls over real connections: streams whatever their label, the ends of bodies, and connections that were kept too long.

// The modules say `cfg(test)` for clippy, which allows `expect` there.
#[cfg(test)]
mod connections;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod long_errors;
#[cfg(test)]
#[path = "../support/raw.rs"]
mod raw;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod stage;
