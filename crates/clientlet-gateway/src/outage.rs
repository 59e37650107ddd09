//! An executor that is down or too slow, and what the gateway says about it.

use serde_json::{Value, json};

use crate::control::Control;
use crate::http_reply::HttpReply;

/// Why the executor did not answer the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    Down,
    Slow,
}

impl Outage {
    /// The outage that is switched on, if any. An executor that is down and slow is down.
    pub(crate) fn now(control: &Control) -> Option<Self> {
        if control.is_executor_down() {
            Some(Self::Down)
        } else if control.is_executor_slow() {
            Some(Self::Slow)
        } else {
            None
        }
    }

    /// Completes an answer that begins with `{"header":{"requestId":...`. In an outage the request
    /// goes back with a status.
    pub(crate) fn reply(
        self,
        mut body: Vec<u8>,
        parameters: Option<&str>,
        documents: &[u8],
    ) -> HttpReply {
        let status = json!({
            "code": 1,
            "description": self.description(),
            "exception": {
                "name": "<class 'jina.excepts.InternalNetworkError'>",
                "args": [],
                "stacks": [],
                "executor": "",
            },
        });
        body.extend_from_slice(b",\"status\":");
        body.extend_from_slice(status.to_string().as_bytes());
        body.extend_from_slice(b",\"execEndpoint\":\"\",\"targetExecutor\":\"\"},\"parameters\":");
        body.extend_from_slice(parameters.unwrap_or("null").as_bytes());
        body.extend_from_slice(b",\"routes\":null,\"data\":");
        body.extend_from_slice(documents);
        body.push(b'}');
        HttpReply::json(if self == Self::Down { 503 } else { 504 }, body)
    }

    /// The status that a dry run reports.
    pub(crate) fn dry_run(self) -> Value {
        let description = self.description();
        let last_line = format!("jina.excepts.InternalNetworkError: {description}\n");
        json!({
            "code": 1,
            "description": description,
            "exception": {
                "name": "InternalNetworkError",
                "args": [description],
                "stacks": ["Traceback (most recent call last):\n", last_line],
                "executor": "",
            },
        })
    }

    /// The reason in the close frame of a WebSocket.
    pub(crate) fn close_reason(self) -> &'static str {
        match self {
            Self::Down => {
                "Network error while connecting to deployment at {'0.0.0.0:50000'}. It may be down."
            }
            Self::Slow => {
                "Connection to deployment at {'0.0.0.0:50000'} timed out. You can adjust \
                 `timeout_send` attribute."
            }
        }
    }

    /// What went wrong, in the gateway's words.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Down => {
                "failed to connect to all addresses; last error: UNKNOWN: Failed to connect to \
                 remote host: Connection refused |Gateway: Communication error with deployment \
                 executor0 at address(es) {'0.0.0.0:50000'}. Head or worker(s) may be down."
            }
            Self::Slow => {
                "Deadline Exceeded|Gateway: Connection with deployment executor0 at address(es) \
                 {'0.0.0.0:50000'} could be established, but timed out. You can increase the \
                 allowed time by setting `timeout_send` in your Flow YAML `with` block or Flow \
                 `__init__()` method."
            }
        }
    }
}
