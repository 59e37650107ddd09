//! The common part of the commands that move documents: an output, signals, a closing line, a summary
//! and an exit status.

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clientlet_gateway::Gateway;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::apart;
use crate::interrupt::Interrupt;
use crate::output::{Output, Pace, Unwritten};
use crate::progress::ProgressLine;
use crate::report::{Exit, Failure};
use crate::summary::SummaryFile;

/// The time that the output has for the remaining lines after a signal.
const GRACE: Duration = Duration::from_secs(2);

/// The reason why an exchange ended.
pub(crate) enum End {
    /// All requests have ended.
    Complete,
    /// A signal came.
    Interrupted,
    /// The output takes no more.
    Unwritten(Unwritten),
}

/// The options that these commands share.
pub(crate) struct Options<'a> {
    pub(crate) output: &'a Path,
    pub(crate) pace: Pace,
    pub(crate) summary: Option<&'a Path>,
    pub(crate) is_quiet: bool,
}

pub(crate) struct Session {
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
    pub(crate) line: ProgressLine,
    exit: Exit,
    started: Instant,
    summary_file: Option<SummaryFile>,
    is_quiet: bool,
}

impl Session {
    /// Opens the files to write, which must not be read too, and listens for signals. `read` are open
    /// files with the options that name them; `secrets` are files that were read already.
    ///
    /// # Errors
    /// When a file cannot be written, or is also read.
    pub(crate) fn open(
        options: &Options<'_>,
        read: &[(&File, &str)],
        secrets: &[(PathBuf, &str)],
    ) -> Result<Session, Failure> {
        let output = Output::open(options.output, options.pace)?;
        let summary_file = options.summary.map(SummaryFile::open).transpose()?;
        let mut written = vec![(output.file(), "--output")];
        written.extend(summary_file.iter().map(|file| (file.file(), "--summary")));
        apart::check(read, secrets, &written)?;
        Ok(Session {
            output,
            interrupt: Interrupt::listen()?,
            line: ProgressLine::new(options.is_quiet),
            exit: Exit::Success,
            started: Instant::now(),
            summary_file,
            is_quiet: options.is_quiet,
        })
    }

    /// Starts the clock when sending begins, and prints the address of an embedded gateway.
    pub(crate) fn begin(&mut self, embedded: Option<&Gateway>) {
        if let Some(gateway) = embedded.filter(|_| !self.is_quiet) {
            let url = gateway.http_url();
            self.line.print(&format!("no URL given: an embedded gateway was started at {url}"));
        }
        self.started = Instant::now();
    }

    /// The time since sending began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Records an exit status. The more serious one counts.
    pub(crate) fn exit_with(&mut self, exit: Exit) {
        self.exit = self.exit.max(exit);
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the remaining lines. After a signal this takes at most [`GRACE`].
    pub(crate) async fn flush(&mut self, end: End) -> End {
        match end {
            // Answers may have come since the output failed.
            End::Unwritten(failed) => return End::Unwritten(self.output.unwritten_since(failed)),
            End::Interrupted => {}
            End::Complete => tokio::select! {
                biased;
                () = self.interrupt.wait() => {}
                finished = self.output.finish() => match finished {
                    Ok(()) => return End::Complete,
                    Err(unwritten) => return End::Unwritten(unwritten),
                },
            },
        }
        self.exit_with(Exit::Interrupted);
        // A second signal ends the wait.
        let finished = tokio::select! {
            biased;
            () = self.interrupt.wait() => None,
            finished = timeout(GRACE, self.output.finish()) => finished.ok(),
        };
        match finished {
            Some(Ok(())) => End::Interrupted,
            Some(Err(unwritten)) => End::Unwritten(unwritten),
            None => {
                let reason = "it does not accept the remaining lines".to_owned();
                End::Unwritten(self.output.unwritten(reason))
            }
        }
    }

    /// Prints the closing line, writes the counts to their file and returns the exit status.
    pub(crate) fn close<S: Serialize + Display>(mut self, summary: &S) -> Exit {
        if !self.is_quiet {
            self.line.print(&summary.to_string());
        }
        if let Some(file) = self.summary_file.take()
            && let Err(failure) = file.write(summary)
        {
            failure.lines().for_each(|line| self.line.print(&line));
            self.exit_with(failure.exit());
        }
        self.exit
    }
}
