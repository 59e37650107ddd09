//! `clientlet ready`: can the gateway work?

use serde_json::json;

use crate::args::AskArgs;
use crate::command::answer;
use crate::connection;
use crate::report::{self, Causes, Exit, Failure};

pub(crate) async fn run(args: AskArgs) -> Result<Exit, Failure> {
    let is_json = args.json;
    let client = connection::client(args)?;
    let Err(error) = client.ready().await else {
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
    Err(error.into())
}
