//! The command `clientlet`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(clientlet_cli::main(std::env::args_os()))
}
