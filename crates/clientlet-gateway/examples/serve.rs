//! Runs a gateway on a free port until it is killed: `cargo run --example serve -- v1 FAULT...`.

use std::error::Error;
use std::io::Write;

use clientlet_gateway::Gateway;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let documents = arguments.next().unwrap_or_else(|| "v1".into()).parse()?;
    let mut builder = Gateway::builder().documents(documents).journal(false);
    for fault in arguments {
        builder = builder.fault(fault.parse()?);
    }
    let gateway = builder.start().await?;
    writeln!(std::io::stdout(), "{}", gateway.http_url())?;
    std::future::pending().await
}
