//! The process: the only file that knows about it. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    homeport::cli::main(std::env::args_os())
}
