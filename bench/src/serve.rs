//! The gateway in a process of its own, so that its work is not counted as the client's.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use clientlet_gateway::{Documents, Gateway};

/// How the gateway serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Never sleeps while it waits for requests.
    pub(crate) awake: bool,
}

/// What makes a gateway stay awake, in this program's own arguments.
pub(crate) const AWAKE: &str = "--awake";

/// This program again, as a gateway; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    child: Child,
    /// It serves for as long as this is open, so it ends even if this process is killed.
    stdin: Option<ChildStdin>,
    url: String,
}

impl GatewayProcess {
    /// # Errors
    /// The process cannot be started, or says no address.
    pub(crate) fn start(options: Options) -> io::Result<GatewayProcess> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve")
            .args(options.awake.then_some(AWAKE))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let mut gateway = GatewayProcess { child, stdin, url: String::new() };
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut gateway.url)?;
        }
        gateway.url.truncate(gateway.url.trim_end().len());
        if gateway.url.is_empty() {
            return Err(io::Error::other("the gateway ended before it said its address"));
        }
        Ok(gateway)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.stdin = None;
        // It fails only for a process that was waited for already.
        let _ = self.child.wait();
    }
}

/// The gateway's side: says its address, then serves until standard input is closed.
pub(crate) fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // One thread, so that the client has the other core even on small machines.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let gateway = Gateway::builder().documents(Documents::V1).journal(false).start().await?;
        if options.awake {
            tokio::spawn(stay_awake());
        }
        writeln!(io::stdout().lock(), "{}", gateway.http_url())?;
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()))
            .await??;
        Ok(())
    })
}

/// Keeps the runtime's only thread from ever waiting for the kernel to wake it.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}
