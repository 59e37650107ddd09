//! Keeps the end of a process's standard error.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Enough for several Python tracebacks. A failing endpoint writes one for every request.
const KEPT_BYTES: usize = 64 * 1024;

const POLL: Duration = Duration::from_millis(10);

/// Reads a pipe to its end in a thread, so that the writer never blocks, and keeps the last bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogTail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
}

impl LogTail {
    pub(crate) fn follow(mut pipe: impl Read + Send + 'static) -> Self {
        let tail = Self::default();
        let writer = tail.clone();
        // The thread ends with the pipe, when the gateway and all its children have ended.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                writer.push(&buffer[..read]);
            }
        });
        tail
    }

    /// Waits until all output of the process has been collected, for at most `limit`.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let began = Instant::now();
        // The thread that reads the pipe holds the other reference.
        while Arc::strong_count(&self.bytes) > 1 && began.elapsed() < limit {
            thread::sleep(POLL);
        }
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, back) = bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    fn push(&self, new: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(new);
        let surplus = bytes.len().saturating_sub(KEPT_BYTES);
        bytes.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_stays_bounded() {
        let tail = LogTail::default();
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"the end");
        let text = tail.text();
        assert_eq!(text.len(), KEPT_BYTES);
        assert!(text.ends_with("xthe end"));
    }
}
