//! The documents of a call, read as the pipeline asks for them.

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::{Value, json};

use crate::fields::Fields;
use crate::lines::{BadLine, Line};
use crate::place::Places;
use crate::report::Failure;
use crate::secrets;
use crate::source::Source;
use crate::standard;
use crate::typed::Document;

/// An opened input, before anything is read.
pub(crate) struct Input {
    /// The name in messages: the file's name or `stdin`.
    name: String,
    file: File,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    ///
    /// # Errors
    /// When the file cannot be read; a directory, for example.
    pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
        let (name, file) = if path == Path::new("-") {
            ("stdin".to_owned(), standard::check(standard::Stream::Stdin).and_then(|()| stdin()))
        } else {
            (secrets::file_name(path), File::open(path))
        };
        let unreadable = |error| Failure::bad_input(format!("{name}: {error}"));
        let file = file.map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(Failure::bad_input(format!("{name}: it is a directory")));
        }
        Ok(Input { name, file })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

fn is_file(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Opens stdin without the standard library's buffer.
fn stdin() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned();
    owned.map(File::from)
}

/// The number of bad lines that are reported one by one, as long as no line is a document.
const MOST_LISTED: u64 = 20;

/// What is known about the input while it is read. The stream of documents, which the pipeline owns,
/// and the report share it.
pub(crate) struct Progress {
    pub(crate) places: Places,
    /// The number of lines that are not documents.
    pub(crate) bad_lines: u64,
    /// The bad lines that were not reported one by one, the first and the last.
    pub(crate) unlisted: Option<RangeInclusive<u64>>,
    /// Whether the whole input was read.
    pub(crate) is_complete: bool,
}

/// The documents of a call, in order: the texts of `--text`, then the input's documents.
pub(crate) struct Documents<R> {
    texts: std::vec::IntoIter<String>,
    name: String,
    source: Option<Source>,
    /// Whether the input is a regular file, which can always be read without waiting.
    is_file: bool,
    lines: std::vec::IntoIter<Line>,
    /// The fields of `--tensor` and `--blob`.
    fields: Option<Rc<Fields>>,
    /// Whether the first bad line ends the documents.
    stop_on_error: bool,
    report: R,
    /// Whether a hint about the form of the input was given. A second hint would not help.
    has_hinted: bool,
    progress: Rc<RefCell<Progress>>,
    /// The first document, if it was read before the call.
    first: Option<Value>,
}

impl<R: FnMut(&str) + Unpin> Documents<R> {
    /// Takes the texts, then the input. Reports each bad line to `report` as one line of text.
    ///
    /// # Errors
    /// When no thread can be started to read the input.
    pub(crate) fn new(
        texts: Vec<String>,
        input: Option<Input>,
        fields: Option<Rc<Fields>>,
        stop_on_error: bool,
        report: R,
    ) -> Result<Documents<R>, Failure> {
        let progress = Progress {
            places: Places::new(u64::try_from(texts.len()).unwrap_or(u64::MAX)),
            bad_lines: 0,
            unlisted: None,
            is_complete: false,
        };
        Ok(Documents {
            texts: texts.into_iter(),
            name: input.as_ref().map(|input| input.name.clone()).unwrap_or_default(),
            is_file: input.as_ref().is_some_and(|input| is_file(&input.file)),
            source: input.map(|input| Source::new(input.file)).transpose()?,
            lines: Vec::new().into_iter(),
            fields,
            stop_on_error,
            report,
            has_hinted: false,
            progress: Rc::new(RefCell::new(progress)),
            first: None,
        })
    }

    /// Whether the input is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.is_file
    }

    pub(crate) fn progress(&self) -> Rc<RefCell<Progress>> {
        self.progress.clone()
    }

    /// Waits for the first document and returns whether there is one. Dropping the future loses no
    /// document.
    pub(crate) async fn has_any(&mut self) -> bool {
        // This finds out whether a file is text at all before texts are sent. Stdin may stay empty for
        // a long time.
        if self.is_file && self.is_unread() {
            poll_fn(|cx| self.poll_block(cx)).await;
            if self.lines.as_slice().first().is_some_and(Line::is_end) {
                self.texts = Vec::new().into_iter();
            }
        }
        if self.first.is_none() {
            self.first = poll_fn(|cx| self.poll_document(cx)).await;
        }
        self.first.is_some()
    }

    fn poll_document(&mut self, cx: &mut Context<'_>) -> Poll<Option<Value>> {
        if let Some(document) = self.first.take() {
            return Poll::Ready(Some(document));
        }
        if let Some(text) = self.texts.next() {
            return Poll::Ready(Some(json!({ "text": text })));
        }
        loop {
            while let Some(line) = self.lines.next() {
                match line.content {
                    Ok(document) => {
                        self.progress.borrow_mut().places.push(line.number);
                        return Poll::Ready(Some(document));
                    }
                    Err(bad) => self.refuse(line.number, &bad),
                }
            }
            if self.source.is_none() {
                return Poll::Ready(None);
            }
            ready!(self.poll_block(cx));
        }
    }

    /// Reads the next lines.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(source) = &mut self.source else { return Poll::Ready(()) };
        match ready!(source.poll_lines(cx)) {
            Some(lines) => self.lines = lines.into_iter(),
            None => {
                self.source = None;
                self.progress.borrow_mut().is_complete = true;
            }
        }
        Poll::Ready(())
    }

    /// Whether the input seems to have another form than JSON Lines: it has had many bad lines and no
    /// document. The first line with a document ends this.
    fn is_of_another_form(&self) -> bool {
        let progress = self.progress.borrow();
        progress.bad_lines >= MOST_LISTED && !progress.places.has_lines()
    }

    fn is_unread(&self) -> bool {
        self.source.is_some() && self.lines.as_slice().is_empty() && self.first.is_none()
    }

    fn refuse(&mut self, line: u64, bad: &BadLine) {
        if self.is_of_another_form() && !bad.is_last {
            let mut progress = self.progress.borrow_mut();
            let first = progress.unlisted.as_ref().map_or(line, |unlisted| *unlisted.start());
            progress.unlisted = Some(first..=line);
            progress.bad_lines += 1;
            return;
        }
        let BadLine { column, what, hint, is_last } = bad;
        let place = match column {
            Some(column) => format!(":{line}:{column}"),
            // The fault is the whole input's, not one line's.
            None if *is_last && line == 1 => String::new(),
            None => format!(":{line}"),
        };
        (self.report)(&format!("{}{place}: {what}", self.name));
        if let (Some(hint), false) = (hint, self.has_hinted) {
            self.has_hinted = true;
            (self.report)(&format!("  hint: {hint}"));
        }
        self.progress.borrow_mut().bad_lines += 1;
        if self.stop_on_error || *is_last {
            self.source = None;
            self.lines = Vec::new().into_iter();
        }
    }
}

impl<R: FnMut(&str) + Unpin> Stream for Documents<R> {
    type Item = Document;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Document>> {
        let value = ready!(self.poll_document(cx));
        Poll::Ready(value.map(|value| Document { value, fields: self.fields.clone() }))
    }
}
