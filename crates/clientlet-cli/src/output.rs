//! Writes answers: only whole lines, in blocks, and without letting a slow reader block the thread
//! that talks to the gateway.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::future::{Future, poll_fn};
use std::io::{self, IsTerminal, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::pipe;
use crate::report::Failure;
use crate::secrets;
use crate::standard;
use crate::worker::{self, Worker};

/// The size from which a block is written immediately. Smaller blocks wait.
const ENOUGH: usize = 64 << 10;
/// The size of waiting data at which no further answer is taken, because the disk or pipe is slow.
const FULL: usize = 256 << 10;
/// The shortest time between two writes of small blocks. Each write costs system calls, and wakes
/// the reader.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest time that lines wait if no later answer triggers their writing. A timer for this
/// costs a system call, too.
const LULL: Duration = Duration::from_millis(200);

/// When lines are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as the output accepts them.
    AtOnce,
    /// In blocks, the first one immediately. On a terminal, which is watched, all lines are written
    /// immediately.
    InBlocks,
}

/// An opened output, and the lines that wait for it.
pub(crate) struct Output {
    /// The name in messages: the file's name or `stdout`.
    name: String,
    file: Arc<File>,
    /// Whether the file still has its old content. The file is emptied before the first write.
    is_to_clear: bool,
    /// Whether there was any answer.
    has_answer: bool,
    sink: Sink,
    pace: Pace,
    /// Complete lines that wait, after bytes that are already written.
    waiting: Vec<u8>,
    /// The number of bytes of `waiting` that are written.
    start: usize,
    /// The total numbers of bytes added and written.
    added: u64,
    done: u64,
    /// The documents of the lines that are not written yet, in order.
    marks: VecDeque<Mark>,
    /// When the last block was written.
    last: Option<Instant>,
    /// Triggers the writing of lines if no later answer does; `None` after a pause without lines.
    beat: Option<Beat>,
}

struct Mark {
    documents: Range<u64>,
    /// The total number of written bytes at which the answer is complete.
    end: u64,
}

/// The way of bytes to the file.
enum Sink {
    /// On the thread that talks to the gateway: for regular files, and devices such as `/dev/null`.
    /// The system reports no readiness for them, and writing to them never waits for a reader.
    Direct,
    /// A pipe that never blocks.
    Pipe(pipe::Sender),
    /// On a thread of its own, since writing may block: for terminals and sockets.
    Thread { worker: Worker, writing: Option<oneshot::Receiver<Written>> },
}

/// The number of bytes written, and the error if it stopped early.
type Written = (usize, io::Result<()>);

/// The reason why no more can be written, and the answers that were not written.
pub(crate) struct Unwritten {
    pub(crate) reason: String,
    /// The documents whose answers are missing from the output, in whole or in part.
    pub(crate) documents: Vec<Range<u64>>,
}

impl Output {
    /// Opens a file, creating it if necessary, or stdout for `-`. A file keeps its content until
    /// there is an answer; stdout stays as the shell has opened it.
    ///
    /// # Errors
    /// When the file cannot be written, or when it needs a thread and none can be started.
    pub(crate) fn open(path: &Path, pace: Pace) -> Result<Output, Failure> {
        let (name, file) = if path == Path::new("-") {
            ("stdout".to_owned(), standard::check(standard::Stream::Stdout).and_then(|()| stdout()))
        } else {
            (secrets::file_name(path), open(path))
        };
        let file = file.map_err(|error| match name.as_str() {
            // A stdout that is closed or full later gives the same error.
            "stdout" => Failure::failed(format!("{name}: {error}")),
            _ => Failure::bad_input(format!("{name}: {error}")),
        })?;
        let is_to_clear = name != "stdout" && is_regular(&file);
        let pace = if file.is_terminal() { Pace::AtOnce } else { pace };
        Ok(Output {
            name,
            sink: Sink::of(&file)?,
            file: Arc::new(file),
            is_to_clear,
            has_answer: false,
            pace,
            waiting: Vec::new(),
            start: 0,
            added: 0,
            done: 0,
            marks: VecDeque::new(),
            last: None,
            beat: None,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether there is room for an answer.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() - self.start < FULL
    }

    /// The first document whose answer is not written yet.
    pub(crate) fn first_unwritten(&self) -> Option<u64> {
        self.marks.iter().map(|mark| mark.documents.start).min()
    }

    /// Adds the lines of an answer, which `write` appends.
    pub(crate) fn add(
        &mut self,
        documents: Range<u64>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), clientlet::Error>,
    ) -> Result<(), clientlet::Error> {
        let before = self.waiting.len();
        if let Err(error) = write(&mut self.waiting) {
            self.waiting.truncate(before);
            return Err(error);
        }
        self.has_answer = true;
        if self.waiting.len() > before {
            self.added += length(self.waiting.len() - before);
            self.marks.push_back(Mark { documents, end: self.added });
        }
        Ok(())
    }

    /// Writes waiting lines when a block is due; waits if there are none. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(crate) async fn write_due(&mut self) -> Result<(), Unwritten> {
        let written = poll_fn(|cx| {
            if self.is_idle() {
                if self.beat.as_mut().is_some_and(|beat| beat.poll(cx).is_ready()) {
                    self.beat = None;
                }
                return Poll::Pending;
            }
            match self.is_due(cx) {
                true => self.poll_block(cx),
                false => Poll::Pending,
            }
        });
        written.await.map_err(|error| self.unwritten(error.to_string()))
    }

    /// Writes all waiting lines.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(crate) async fn finish(&mut self) -> Result<(), Unwritten> {
        while !self.is_idle() {
            let written = poll_fn(|cx| self.poll_block(cx)).await;
            written.map_err(|error| self.unwritten(error.to_string()))?;
        }
        Ok(())
    }

    /// Whether nothing is waiting and nothing is being written.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_begun() && !(self.has_answer && self.is_to_clear)
    }

    /// Whether a block has been written in part.
    fn is_begun(&self) -> bool {
        self.start > 0 || matches!(&self.sink, Sink::Thread { writing: Some(_), .. })
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let is_now = self.is_begun() || self.pace == Pace::AtOnce || self.waiting.len() >= ENOUGH;
        is_now
            || self.last.is_none_or(|last| last.elapsed() >= PAUSE)
            || self.beat.as_mut().is_none_or(|beat| beat.poll(cx).is_ready())
    }

    /// Writes the waiting lines, until none is left or the output accepts no more.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pace == Pace::InBlocks {
            self.last = Some(Instant::now());
            self.beat.get_or_insert_with(|| Beat::start(cx));
        }
        if std::mem::take(&mut self.is_to_clear) {
            self.file.set_len(0)?;
        }
        if self.waiting.is_empty() && !self.is_begun() {
            return Poll::Ready(Ok(()));
        }
        let (written, result) = match &mut self.sink {
            Sink::Direct => write(&self.file, &self.waiting[self.start..]),
            Sink::Pipe(pipe) => {
                match ready!(Pin::new(pipe).poll_write(cx, &self.waiting[self.start..])) {
                    Ok(0) => (0, Err(io::ErrorKind::WriteZero.into())),
                    Ok(written) => (written, Ok(())),
                    Err(error) => (0, Err(error)),
                }
            }
            Sink::Thread { worker, writing } => {
                let block = writing.get_or_insert_with(|| {
                    let bytes = std::mem::take(&mut self.waiting);
                    let file = self.file.clone();
                    worker.run(move || write(&file, &bytes))
                });
                let result = ready!(Pin::new(block).poll(cx));
                *writing = None;
                let (written, result) = result.unwrap_or_else(|_| (0, Err(worker::broken())));
                self.settle(written);
                return Poll::Ready(result);
            }
        };
        self.start += written;
        self.settle(written);
        if self.start == self.waiting.len() {
            self.waiting.clear();
            // The memory of one large answer is not kept for the small ones after it.
            self.waiting.shrink_to(FULL);
            self.start = 0;
        } else if self.start >= ENOUGH {
            self.waiting.drain(..self.start);
            self.start = 0;
        }
        Poll::Ready(result)
    }

    /// Counts bytes that were written.
    fn settle(&mut self, written: usize) {
        self.done += length(written);
        while self.marks.front().is_some_and(|mark| mark.end <= self.done) {
            self.marks.pop_front();
        }
    }

    /// Reports the answers that may not be written, for this reason.
    pub(crate) fn unwritten(&mut self, reason: String) -> Unwritten {
        self.unwritten_since(Unwritten { reason, documents: Vec::new() })
    }

    /// Adds the answers that were added since the output failed, none of which is written.
    pub(crate) fn unwritten_since(&mut self, failed: Unwritten) -> Unwritten {
        let Unwritten { reason, mut documents } = failed;
        documents.extend(self.marks.drain(..).map(|mark| mark.documents));
        documents.sort_by_key(|range| range.start);
        documents.dedup_by(|next, range| {
            let adjoins = range.end == next.start;
            if adjoins {
                range.end = next.end;
            }
            adjoins
        });
        self.waiting.clear();
        self.start = 0;
        Unwritten { reason, documents }
    }
}

/// A periodic timer.
///
/// Two timers alternate, so that another one is always set when one is set anew. For a timer that
/// is earlier than all others tokio wakes its own driver, which costs two system calls.
struct Beat {
    timers: [Pin<Box<Sleep>>; 2],
    next: usize,
}

impl Beat {
    fn start(cx: &mut Context<'_>) -> Beat {
        let now = Instant::now();
        let mut timers = [now + LULL, now + 2 * LULL].map(|at| Box::pin(sleep_until(at)));
        for timer in &mut timers {
            // Polling sets the timer. If the task's budget is used up, tokio wakes the task by
            // itself.
            let _ = timer.as_mut().poll(cx);
        }
        Beat { timers, next: 0 }
    }

    /// Completes once for each period; missed periods do not count.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = &mut self.timers[self.next];
        ready!(timer.as_mut().poll(cx));
        let next = timer.deadline() + 2 * LULL;
        timer.as_mut().reset(next.max(Instant::now() + LULL));
        let _ = timer.as_mut().poll(cx);
        self.next = 1 - self.next;
        Poll::Ready(())
    }
}

impl Sink {
    fn of(file: &File) -> Result<Sink, Failure> {
        if is_regular(file) || is_device(file) {
            return Ok(Sink::Direct);
        }
        if let Some(pipe) = pipe::sender(file) {
            return Ok(Sink::Pipe(pipe));
        }
        Ok(Sink::Thread { worker: Worker::start()?, writing: None })
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Opens a file for writing and keeps its content for now.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Whether this is a device that accepts everything, such as `/dev/null`.
fn is_device(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let is_device = |it: std::fs::Metadata| it.file_type().is_char_device();
        !file.is_terminal() && file.metadata().is_ok_and(is_device)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

/// Stdout without the standard library's line buffer, which hides how much of a failed write has
/// arrived.
fn stdout() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned();
    owned.map(File::from)
}

/// Writes everything; if that fails, a regular file is cut back to its last whole line.
fn write(mut file: &File, bytes: &[u8]) -> Written {
    let mut written = 0;
    while written < bytes.len() {
        let error = match file.write(&bytes[written..]) {
            Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
            Ok(count) => {
                written += count;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let whole = bytes[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        cut(file, written - whole);
        return (whole, Err(error));
    }
    (written, Ok(()))
}

/// Removes the last bytes, if this is a file and the bytes are its end.
fn cut(mut file: &File, bytes: usize) {
    let (Ok(metadata), Ok(position)) = (file.metadata(), file.stream_position()) else { return };
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if bytes > 0 && metadata.is_file() && metadata.len() == position {
        // The caller already reports that the file cannot be written.
        let _ = file.set_len(position.saturating_sub(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_written_in_order_and_a_file_is_emptied_with_the_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old content\n").unwrap();
        let mut output = Output::open(file.path(), Pace::InBlocks).unwrap();
        output.finish().await.map_err(|unwritten| unwritten.reason).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "old content\n");
        for n in 0..10_000_u64 {
            output.add(n..n + 1, |out| writeln!(out, "{n}").map_err(|_| unreachable!())).unwrap();
        }
        output.finish().await.map_err(|unwritten| unwritten.reason).unwrap();
        assert_eq!(output.first_unwritten(), None);
        let expected: String = (0..10_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), expected);
    }

    #[tokio::test]
    async fn what_a_full_device_does_not_take_is_named() {
        let mut output = Output::open(Path::new("/dev/full"), Pace::InBlocks).unwrap();
        for n in [2_u64, 0, 1, 5] {
            output.add(n..n + 1, |out| writeln!(out, "{n}").map_err(|_| unreachable!())).unwrap();
        }
        let unwritten = output.finish().await.err().unwrap();
        assert_eq!(unwritten.documents, [0..3, 5..6]);
        assert!(unwritten.reason.contains("No space left"), "{}", unwritten.reason);
    }

    #[test]
    fn a_half_line_is_removed_and_earlier_content_is_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthr").unwrap();
        let mut open = OpenOptions::new().append(true).open(file.path()).unwrap();
        // Before the first write, a file opened to append is not positioned at its end.
        cut(&open, 3);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one\ntwo\nthr");
        open.write_all(b"ee").unwrap();
        cut(&open, 5);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one\ntwo\n");
    }
}
