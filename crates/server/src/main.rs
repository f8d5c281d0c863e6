//! The `llm-router` binary.

use std::process::ExitCode;

/// Long prompts are allocated and freed with every request; the C library's allocator gives such memory back to the kernel
/// each time. Measured in docs/decisions/0001.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    server::cli::main()
}
