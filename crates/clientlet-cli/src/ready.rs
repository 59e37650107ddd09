//! `clientlet ready`: asks whether the gateway and its executors are ready.

use serde_json::json;

use crate::args::{AskArgs, Object};
use crate::connection;
use crate::hint::Task;
use crate::report::{Exit, Failure, answer};

pub(crate) async fn run(args: AskArgs) -> Result<Exit, Failure> {
    let is_json = args.json;
    if let Err(failure) = ask(args).await {
        let not_ready = Object::from_iter([("ready".to_owned(), false.into())]);
        return failure.written(is_json, not_ready);
    }
    let text = json!({ "ready": true, "reason": null, "kind": null }).to_string();
    answer(if is_json { &text } else { "ready" })?;
    Ok(Exit::Success)
}

async fn ask(mut args: AskArgs) -> Result<(), Failure> {
    let patience = args.wait_ready.take();
    let client = connection::client(args).await?;
    let asked = match patience {
        Some(patience) => client.wait_ready(patience).await,
        None => client.ready().await,
    };
    asked.map_err(|error| Failure::of(&error, Task::Ask))
}
