//! Each mistake is reported at its place.
