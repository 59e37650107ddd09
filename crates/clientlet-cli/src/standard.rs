//! Finds out whether stdin and stdout were open when the process started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of closed streams. From then on a
//! closed stdout looks like one that was redirected to `/dev/null`, and everything written to it
//! would be lost silently. So this is checked before the runtime starts.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A standard stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stdin,
    Stdout,
}

static STDIN_WAS_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[cfg(any(target_os = "linux", target_os = "macos"))]
ctor::declarative::ctor! {
    // The function only asks the system, and stores the result.
    #[ctor(unsafe)]
    fn look() {
        let is_there = |path: &str| std::fs::metadata(path).is_ok();
        // A system without these names tells nothing.
        if is_there("/dev/fd/.") {
            STDIN_WAS_CLOSED.store(!is_there("/dev/fd/0"), Ordering::Relaxed);
            STDOUT_WAS_CLOSED.store(!is_there("/dev/fd/1"), Ordering::Relaxed);
        }
    }
}

/// # Errors
/// `EBADF` if the stream was closed when the process started: the error that other programs get.
pub(crate) fn check(stream: Stream) -> io::Result<()> {
    let was_closed = match stream {
        Stream::Stdin => &STDIN_WAS_CLOSED,
        Stream::Stdout => &STDOUT_WAS_CLOSED,
    };
    match was_closed.load(Ordering::Relaxed) {
        true => Err(io::Error::from_raw_os_error(EBADF)),
        false => Ok(()),
    }
}

/// The number in `errno.h` on Linux and Apple's systems.
const EBADF: i32 = 9;
