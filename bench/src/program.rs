//! Finds the command `clientlet` that was built beside this program.

use std::env;
use std::io;
use std::path::PathBuf;

/// # Errors
/// If the command does not exist.
pub(crate) fn find() -> io::Result<PathBuf> {
    let name = format!("clientlet{}", env::consts::EXE_SUFFIX);
    let program = env::current_exe()?.with_file_name(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(io::Error::other(format!(
        "{} does not exist; `cargo build --release -p clientlet-cli` builds it, \
         and `cargo xtask bench` builds both",
        program.display()
    )))
}
