//! Reads an input as lines, block by block.
//!
//! Lines that come slowly are read and parsed on the thread that talks to the gateway, since waking
//! another thread costs more than parsing a few hundred bytes. At full speed a separate thread
//! parses the next block while the lines of the last one are sent.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;

use crate::lines::{Line, Lines};
use crate::pipe;
use crate::report::Failure;
use crate::worker::{self, Worker};

/// The maximum length of a line, in bytes. The answer to a document of this size would exceed the
/// library's limit.
const LONGEST_LINE: usize = 64 << 20;
/// The number of bytes read at a time. A pipe on Linux holds no more.
const BLOCK: usize = 64 << 10;
/// The size from which a block is parsed on the separate thread, because its producer is fast.
const LARGE: usize = 8 << 10;

/// A file, pipe or terminal that is read as lines.
pub(crate) struct Source {
    /// The pipe, if the input is a pipe that can be made non-blocking.
    pipe: Option<pipe::Receiver>,
    worker: Worker,
    state: State,
}

enum State {
    /// No block is being read.
    Idle(Reader),
    /// The thread works on a block.
    Working(oneshot::Receiver<Block>),
    /// A block was read in advance.
    Parsed(Block),
    /// The input has ended.
    Ended,
}

/// The state for reading, which moves to the thread and back.
struct Reader {
    file: File,
    buffer: Vec<u8>,
    lines: Lines,
}

/// The lines of a block. The last block has no reader.
struct Block {
    lines: Vec<Line>,
    reader: Option<Reader>,
}

impl Source {
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn new(file: File) -> Result<Source, Failure> {
        let pipe = pipe::receiver(&file);
        let reader = Reader { file, buffer: vec![0; BLOCK], lines: Lines::new(LONGEST_LINE) };
        Ok(Source { pipe, worker: Worker::start()?, state: State::Idle(reader) })
    }

    /// Returns the lines that end in the next block, which may be none; `None` at the end of the
    /// input.
    pub(crate) fn poll_lines(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Line>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(reader) => {
                    self.state = self.read(reader, cx);
                    if let State::Idle(_) = self.state {
                        return Poll::Pending;
                    }
                }
                State::Parsed(Block { lines, reader }) => {
                    self.state = reader.map_or(State::Ended, State::Idle);
                    return Poll::Ready(Some(lines));
                }
                State::Working(mut working) => {
                    let Poll::Ready(block) = Pin::new(&mut working).poll(cx) else {
                        self.state = State::Working(working);
                        return Poll::Pending;
                    };
                    let Block { lines, reader } = block.unwrap_or_else(|_| {
                        let error = Lines::new(LONGEST_LINE).broken(&worker::broken());
                        Block { lines: vec![error], reader: None }
                    });
                    // The next block is parsed while these lines are sent.
                    self.state = reader.map_or(State::Ended, |reader| self.read(reader, cx));
                    return Poll::Ready(Some(lines));
                }
            }
        }
    }

    /// Begins to read a block. The state stays idle while the pipe is empty.
    fn read(&mut self, mut reader: Reader, cx: &mut Context<'_>) -> State {
        let Some(pipe) = &mut self.pipe else {
            return State::Working(self.worker.run(move || reader.read()));
        };
        let mut buffer = ReadBuf::new(&mut reader.buffer);
        let result = match Pin::new(pipe).poll_read(cx, &mut buffer) {
            Poll::Pending => return State::Idle(reader),
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
        };
        match result {
            Ok(length @ LARGE..) => {
                State::Working(self.worker.run(move || reader.parse(Ok(length))))
            }
            result => State::Parsed(reader.parse(result)),
        }
    }
}

impl Reader {
    /// Reads a block and parses it. Blocks while the input has no data.
    fn read(mut self) -> Block {
        let read = loop {
            match self.file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.parse(read)
    }

    /// Parses the bytes of the buffer that were read.
    fn parse(mut self, read: io::Result<usize>) -> Block {
        match read {
            Ok(0) => Block { lines: self.lines.finish(), reader: None },
            Ok(length) => {
                let lines = self.lines.push(&self.buffer[..length]);
                Block { lines, reader: Some(self) }
            }
            Err(error) => Block { lines: vec![self.lines.broken(&error)], reader: None },
        }
    }
}
