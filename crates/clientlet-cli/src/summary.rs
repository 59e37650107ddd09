//! The counts of a run, for people and for programs.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::output;
use crate::report::{Failure, count};
use crate::secrets;

/// The counts of a run. Requests are counted, not their attempts.
#[derive(Default, Serialize)]
pub(crate) struct Summary {
    /// Documents that were read.
    pub(crate) documents: u64,
    /// Lines that are not documents, and documents that the gateway's generation cannot represent.
    pub(crate) bad_input: u64,
    /// Requests that ended.
    pub(crate) requests: u64,
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Documents of the requests that failed.
    pub(crate) failed_documents: u64,
    /// Documents of requests that could not be made, because a setting is wrong.
    pub(crate) not_sent: u64,
    /// In a run that ended early: documents that were read and whose requests did not end.
    pub(crate) not_answered: u64,
    /// Documents that were answered and whose answers could not be written.
    pub(crate) not_written: u64,
    /// Requests that took more than one attempt, answered or not.
    pub(crate) retried: u64,
    /// Connections that replaced lost ones.
    pub(crate) reconnects: u64,
    /// Answers that came twice or too late.
    pub(crate) duplicates_dropped: u64,
    #[serde(rename = "elapsed_s", serialize_with = "as_seconds")]
    pub(crate) elapsed: Duration,
    pub(crate) interrupted: bool,
}

pub(crate) fn as_seconds<S: serde::Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { answered, failed, retried, .. } = self;
        let documents = count(self.documents, "document");
        if self.requests > 0 {
            let requests = count(self.requests, "request");
            write!(f, "{documents} in {requests}: {answered} answered, {failed} failed, ")?;
            write!(f, "{retried} retried, ")?;
        } else {
            write!(f, "{documents} read, no request ended, ")?;
        }
        if self.failed_documents > 0 {
            write!(f, "{} failed, ", count(self.failed_documents, "document"))?;
        }
        if self.not_sent > 0 {
            write!(f, "{} not sent, ", count(self.not_sent, "document"))?;
        }
        if self.not_answered > 0 {
            write!(f, "{} not answered, ", count(self.not_answered, "document"))?;
        }
        if self.not_written > 0 {
            write!(f, "{} not written, ", count(self.not_written, "document"))?;
        }
        if self.reconnects > 0 {
            write!(f, "{}, ", count(self.reconnects, "reconnect"))?;
        }
        if self.duplicates_dropped > 0 {
            write!(f, "{} dropped, ", count(self.duplicates_dropped, "duplicate"))?;
        }
        if self.bad_input > 0 {
            write!(f, "{} of bad input, ", count(self.bad_input, "line"))?;
        }
        write!(f, "{:.2} s", self.elapsed.as_secs_f64())
    }
}

/// The file for `--summary`, opened before anything is sent.
pub(crate) struct SummaryFile {
    name: String,
    file: File,
}

impl SummaryFile {
    /// Opens the file, creating it if necessary.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn open(path: &Path) -> Result<SummaryFile, Failure> {
        let name = secrets::file_name(path);
        match output::open(path) {
            Ok(file) => Ok(SummaryFile { name, file }),
            Err(error) => Err(Failure::bad_input(format!("{name}: {error}"))),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Replaces the file's content with the counts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(self, summary: &impl Serialize) -> Result<(), Failure> {
        let SummaryFile { name, mut file } = self;
        let mut json = serde_json::to_vec(summary).expect("numbers can be written to memory");
        json.push(b'\n');
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { file.set_len(0) } else { io::Result::Ok(()) };
        emptied
            .and_then(|()| file.write_all(&json))
            .map_err(|error| Failure::failed(format!("{name}: {error}")))
    }
}
