//! runpod
