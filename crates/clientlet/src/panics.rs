//! Handles panics in this crate's tasks, including those of the crates that they use.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::foreign::shorten;

/// Runs the caller's own work, and catches a panic.
///
/// # Errors
/// What the panic says.
pub(crate) async fn or_panic<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| told(&*panic))
}

/// Runs the work of a task and catches a panic, so that the task can still report the panic to
/// everything that waits for it. After a panic the work must not be continued.
///
/// # Errors
/// A description of the panic.
pub(crate) async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Result<T, String> {
    or_panic(work).await.map_err(|panic| {
        format!("the client itself failed, which is a fault to be reported: {panic}")
    })
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    shorten(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clientlet_gateway::Gateway;
    use serde_json::json;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::builder::transport;
    use crate::connect::memory::network::network;
    use crate::options::ClientletOptions;
    use crate::{Client, Delivery, DocArray, ErrorKind};

    /// Longer than the longest wait for the end of a task, shorter than any time-out.
    const AT_ONCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn requests_in_flight_fail_at_once_if_their_connection_panics() {
        for protocol in ["http", "ws", "ws json", "grpc", "grpc unary"] {
            let (connector, accepted, bomb) = network();
            let gateway = Gateway::builder()
                .docarray(clientlet_gateway::DocArray::V1)
                .http(protocol == "http")
                .websocket(protocol.starts_with("ws"))
                .grpc(protocol.starts_with("grpc"))
                .fault("stall@1-9".parse().unwrap())
                .serve(accepted)
                .unwrap();
            let scheme = protocol.split(' ').next().unwrap();
            let mut config =
                ClientletOptions::new().max_attempts(1).check(&format!("{scheme}://h:80")).unwrap();
            config.docarray = Some(DocArray::V1);
            config.grpc.is_unary = protocol == "grpc unary";
            let transport = transport(connector, &config, protocol == "ws json").unwrap();
            let client = Client::over(config, transport);
            // With JSON, a WebSocket carries one request at a time.
            let requests: usize = if protocol == "ws json" { 1 } else { 3 };
            let call = tokio::spawn({
                let documents = (0..requests).map(|n| json!({"id": n.to_string()}));
                let call = client.post("/").documents(documents).request_size(1).prefetch(4);
                async move { call.send().await }
            });
            gateway.journal().wait_for(requests).await;
            bomb.go_off();
            let began = Instant::now();
            let answers = timeout(AT_ONCE, call).await.unwrap_or_else(|_| panic!("{protocol}"));
            assert!(began.elapsed() < AT_ONCE, "{protocol}");
            let answers = answers.unwrap();
            assert_eq!(answers.len(), requests, "{protocol}");
            for answer in answers {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Transport, "{protocol}: {error}");
                assert_eq!(error.delivery(), Delivery::Unknown, "{protocol}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn the_message_of_a_panic_is_reported() {
        assert_eq!(unless_it_panics(async { 7 }).await, Ok(7));
        let numbers: Vec<u8> = Vec::new();
        let said = unless_it_panics(async { numbers[3] }).await.unwrap_err();
        assert!(said.contains("the len is 0 but the index is 3"), "{said}");
        let said: Result<(), String> = unless_it_panics(async { panic!("a\u{1b}b") }).await;
        assert!(said.unwrap_err().ends_with("a\\u{1b}b"));
    }
}
