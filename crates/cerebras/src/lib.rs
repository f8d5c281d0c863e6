//! cerebras
