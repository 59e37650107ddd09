//! Whether stdin and stdout were open when the process started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of what is closed, and from then on a closed
//! stdout cannot be told from one that somebody sent to `/dev/null`: what was written to it would be lost
//! without a word. So this is looked up before the runtime starts.

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
    // It only asks the system, and stores what that says.
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
/// The stream was closed when the process started: `EBADF`, as the system has it for others.
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

/// Of `errno.h`, on Linux and on Apple's systems.
const EBADF: i32 = 9;
