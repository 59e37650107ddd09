//! `clientlet ready`: asks whether the gateway and its executors are ready.

use serde_json::json;

use crate::args::AskArgs;
use crate::connection;
use crate::hint::Task;
use crate::report::{self, Causes, Exit, Failure, answer};

pub(crate) async fn run(mut args: AskArgs) -> Result<Exit, Failure> {
    let is_json = args.json;
    let patience = args.wait_ready.take();
    let client = connection::client(args).await?;
    let asked = match patience {
        Some(patience) => client.wait_ready(patience).await,
        None => client.ready().await,
    };
    let Err(error) = asked else {
        let text = json!({ "ready": true, "reason": null, "kind": null }).to_string();
        answer(if is_json { &text } else { "ready" })?;
        return Ok(Exit::Success);
    };
    if is_json {
        let reason = format!("{error}{}", Causes(&error));
        let text = json!({ "ready": false, "reason": reason, "kind": error.kind().name() });
        answer(&text.to_string())?;
        return Ok(report::exit_of(&error));
    }
    Err(Failure::of(&error, Task::Ask))
}
