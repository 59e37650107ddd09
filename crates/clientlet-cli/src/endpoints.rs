//! `clientlet endpoints`: lists the endpoints of a gateway.

use clientlet::{DocArray, Endpoints};
use serde_json::json;

use crate::args::{AskArgs, Object};
use crate::connection;
use crate::hint::Task;
use crate::report::{self, Exit, Failure, answer, answer_lines};

pub(crate) async fn run(args: AskArgs) -> Result<Exit, Failure> {
    let is_json = args.json;
    let endpoints = match ask(args).await {
        Ok(endpoints) => endpoints,
        Err(failure) => return failure.written(is_json, Object::new()),
    };
    if is_json {
        let text = json!({
            "docarray": endpoints.docarray.to_string(),
            "takes_any": endpoints.takes_any,
            "paths": endpoints.paths,
        });
        answer(&text.to_string())?;
        return Ok(Exit::Success);
    }
    if !endpoints.paths.is_empty() {
        answer_lines(endpoints.paths.iter().map(String::as_str))?;
    }
    match (endpoints.docarray, endpoints.takes_any) {
        (DocArray::V1, true) => report::print(
            "a v1 gateway takes any endpoint's name, and does not list its executors' endpoints",
        ),
        (_, true) if endpoints.paths.is_empty() => report::print(
            "here the gateway takes any endpoint's name, and does not list its executors' endpoints",
        ),
        (_, true) => {
            report::print("the gateway takes any other endpoint, too");
        }
        (_, false) if endpoints.paths.is_empty() => {
            report::print("the gateway does not list its endpoints");
        }
        (_, false) => {}
    }
    Ok(Exit::Success)
}

async fn ask(args: AskArgs) -> Result<Endpoints, Failure> {
    let endpoints = connection::client(args).await?.endpoints().await;
    endpoints.map_err(|error| Failure::of(&error, Task::Ask))
}
