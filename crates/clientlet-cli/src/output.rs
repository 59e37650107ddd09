//! Where answers are written: whole lines only, off the thread that talks to the gateway.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::report::Failure;

/// So much is gathered before a write, unless nothing else is to be done.
const ENOUGH: usize = 64 << 10;
/// With so much waiting for a slow disk or pipe, no answer is taken.
const FULL: usize = 256 << 10;

/// An opened output, and what is on its way to it.
pub(crate) struct Output {
    /// As messages call it: the file's name, or `stdout`.
    name: String,
    file: Arc<File>,
    /// Whole lines that wait.
    pending: Vec<u8>,
    /// Whose lines they are, by where these end.
    pending_marks: Vec<Mark>,
    writing: Option<JoinHandle<Result<(), Broken>>>,
    writing_marks: Vec<Mark>,
}

struct Mark {
    documents: Range<u64>,
    end: usize,
}

/// A write that went wrong after so many bytes of whole lines.
struct Broken {
    error: io::Error,
    whole: usize,
}

/// Why no more can be written, and the answers that were not.
pub(crate) struct Unwritten {
    pub(crate) reason: String,
    /// The documents whose answers are missing from the output, in whole or in part.
    pub(crate) documents: Vec<Range<u64>>,
}

impl Output {
    /// Opens a file, made if need be, or stdout for `-`. What it holds is left until
    /// [`clear`](Output::clear).
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Output, Failure> {
        let (name, file) = if path == Path::new("-") {
            ("stdout".to_owned(), stdout())
        } else {
            (path.display().to_string(), open(path))
        };
        let file = file.map_err(|error| Failure::bad_input(format!("{name}: {error}")))?;
        Ok(Output {
            name,
            file: Arc::new(file),
            pending: Vec::new(),
            pending_marks: Vec::new(),
            writing: None,
            writing_marks: Vec::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Empties a file that was named; stdout stays as the shell has opened it.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        if self.name == "stdout" || !is_regular(&self.file) {
            return Ok(());
        }
        self.file.set_len(0).map_err(|error| Failure::bad_input(format!("{}: {error}", self.name)))
    }

    /// Whether there is room for an answer.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < FULL
    }

    /// Whether something waits that could be written now.
    pub(crate) fn can_flush(&self) -> bool {
        !self.pending.is_empty() && self.writing.is_none()
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The first document whose answer is not written yet.
    pub(crate) fn first_unwritten(&self) -> Option<u64> {
        let marks = self.pending_marks.iter().chain(&self.writing_marks);
        marks.map(|mark| mark.documents.start).min()
    }

    /// Adds the lines of an answer: `write` appends them.
    pub(crate) fn add(
        &mut self,
        documents: Range<u64>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), clientlet::Error>,
    ) -> Result<(), clientlet::Error> {
        let before = self.pending.len();
        if let Err(error) = write(&mut self.pending) {
            self.pending.truncate(before);
            return Err(error);
        }
        if self.pending.len() > before {
            self.pending_marks.push(Mark { documents, end: self.pending.len() });
        }
        if self.pending.len() >= ENOUGH && self.can_flush() {
            self.flush();
        }
        Ok(())
    }

    /// Begins to write what waits.
    pub(crate) fn flush(&mut self) {
        debug_assert!(self.can_flush(), "one write at a time keeps the lines in order");
        let bytes = std::mem::take(&mut self.pending);
        self.writing_marks = std::mem::take(&mut self.pending_marks);
        let file = self.file.clone();
        self.writing = Some(spawn_blocking(move || write(&file, &bytes)));
    }

    /// Waits for the write that goes on. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(crate) async fn written(&mut self) -> Result<(), Unwritten> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let result = writing
            .await
            .unwrap_or_else(|panic| Err(Broken { error: io::Error::other(panic), whole: 0 }));
        self.writing = None;
        match result {
            Ok(()) => {
                self.writing_marks.clear();
                Ok(())
            }
            Err(Broken { error, whole }) => {
                self.writing_marks.retain(|mark| mark.end > whole);
                Err(self.unwritten(error.to_string()))
            }
        }
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(crate) async fn finish(&mut self) -> Result<(), Unwritten> {
        loop {
            self.written().await?;
            if !self.can_flush() {
                return Ok(());
            }
            self.flush();
        }
    }

    /// What is not known to be written, for this reason.
    pub(crate) fn unwritten(&mut self, reason: String) -> Unwritten {
        let marks = self.writing_marks.drain(..).chain(self.pending_marks.drain(..));
        let mut documents: Vec<_> = marks.map(|mark| mark.documents).collect();
        documents.sort_by_key(|range| range.start);
        documents.dedup_by(|next, range| {
            let adjoins = range.end == next.start;
            if adjoins {
                range.end = next.end;
            }
            adjoins
        });
        self.pending.clear();
        Unwritten { reason, documents }
    }
}

/// Opens a file for writing and leaves its content for now.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

/// Whether two open files are one.
pub(crate) fn is_same(one: &File, other: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |file: &File| file.metadata().ok().map(|it| (it.dev(), it.ino()));
        is_regular(one) && identity(one) == identity(other)
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
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
fn write(mut file: &File, bytes: &[u8]) -> Result<(), Broken> {
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
        return Err(Broken { error, whole });
    }
    Ok(())
}

/// Takes back the last bytes, if this is a file and they are its end.
fn cut(mut file: &File, bytes: usize) {
    let (Ok(metadata), Ok(position)) = (file.metadata(), file.stream_position()) else { return };
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if bytes > 0 && metadata.is_file() && metadata.len() == position {
        // That it cannot be cut is no news beside that it cannot be written.
        let _ = file.set_len(position.saturating_sub(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_written_in_order_and_a_file_is_emptied_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old content\n").unwrap();
        let mut output = Output::open(file.path()).unwrap();
        output.clear().unwrap();
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
        let mut output = Output::open(Path::new("/dev/full")).unwrap();
        for n in [2_u64, 0, 1, 5] {
            output.add(n..n + 1, |out| writeln!(out, "{n}").map_err(|_| unreachable!())).unwrap();
        }
        let unwritten = output.finish().await.err().unwrap();
        assert_eq!(unwritten.documents, [0..3, 5..6]);
        assert!(unwritten.reason.contains("No space left"), "{}", unwritten.reason);
    }

    #[test]
    fn a_half_line_is_taken_back_and_what_stood_before_is_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthr").unwrap();
        let mut open = OpenOptions::new().append(true).open(file.path()).unwrap();
        // The position of a file opened to append is not at its end before the first write.
        cut(&open, 3);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one\ntwo\nthr");
        open.write_all(b"ee").unwrap();
        cut(&open, 5);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "one\ntwo\n");
    }
}
