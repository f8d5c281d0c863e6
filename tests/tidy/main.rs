//! Rules of the repository: which crate may depend on which, how long a file may be, and that the documents match the
//! code.

// The modules say `cfg(test)` for clippy, which allows `unwrap` and `panic` there.
#[cfg(test)]
mod documents;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod reliability;
#[cfg(test)]
mod repository;
