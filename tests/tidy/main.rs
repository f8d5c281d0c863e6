//! The house stays in order: who may know whom, how long a file gets, and that the documents keep up with the code.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod documents;
#[cfg(test)]
mod house;
#[cfg(test)]
mod reliability;
#[cfg(test)]
mod repository;
