//! `WebsocketClientlet` against the embedded gateway and its faults.

use std::collections::BTreeSet;
use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest, WebsocketClientlet};
use clientlet::{Delivery, DocArray, Document, ErrorKind};
use clientlet_gateway::Gateway;
use serde_json::json;

use crate::both::{builder, gateway_with, hasty, request, rest, soon};

async fn started(gateway: &Gateway, path: &str, options: &ClientletOptions) -> WebsocketClientlet {
    let url = format!("{}{path}", gateway.websocket_url());
    let mut clientlet = WebsocketClientlet::new(&url, options).unwrap();
    clientlet.start().await.unwrap();
    clientlet
}

async fn plain(gateway: &Gateway) -> WebsocketClientlet {
    started(gateway, "/", &ClientletOptions::new()).await
}

#[tokio::test]
async fn requests_sent_before_the_end_of_input_are_answered_before_the_close() {
    let gateway = gateway_with(&["slow:0.2@2"]).await;
    let mut clientlet = plain(&gateway).await;
    for id in ["a", "b", "c"] {
        clientlet.send_message(&request(id)).await.unwrap();
    }
    clientlet.send_eoi().await.unwrap();
    let mut responses = clientlet.recv_message();
    assert_eq!(responses.close_code(), None);
    assert_eq!(rest(&mut responses).await, ["a", "c", "b"], "answers come as they are ready");
    assert_eq!((responses.close_code(), responses.close_message()), (Some(1000), Some("")));
    assert!(responses.next().await.is_none());
    assert_eq!(clientlet.close_code(), Some(1000));
    assert!(!clientlet.is_open());
    let error = clientlet.send_message(&request("d")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NotSent));
    assert_eq!(gateway.journal().len(), 3);
}

#[tokio::test]
async fn requests_answers_and_parameters_work_with_documents_v2_as_well() {
    let gateway = builder(&[]).docarray(clientlet_gateway::DocArray::V2).start().await.unwrap();
    let mut clientlet = plain(&gateway).await;
    let request = DataRequest::proto(DocArray::V2, "/params")
        .parameters(&json!({"a": 1}))
        .unwrap()
        .target_executor("exec")
        .documents([json!({"text": "x"}), json!({"text": "y"})])
        .unwrap();
    clientlet.send_message(&request).await.unwrap();
    let response = soon(clientlet.recv_message().next()).await.unwrap().unwrap();
    assert_eq!(response.request_id(), request.request_id());
    assert_eq!(response.documents::<serde_json::Value>().unwrap().len(), 2);
    let parameters: serde_json::Value = response.parameters().unwrap();
    assert_eq!(parameters["__results__"]["executor0/rep-0"]["count"], json!(2));
    let other = DataRequest::proto(DocArray::V1, "/");
    let error = clientlet.send_message(&other).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Encode, Delivery::NotSent));
}

#[tokio::test]
async fn a_dry_run_is_one_message_and_a_normal_close() {
    let gateway = gateway_with(&[]).await;
    let mut clientlet = started(&gateway, "/dry_run", &ClientletOptions::new()).await;
    clientlet.send_dry_run().await.unwrap();
    let mut statuses = clientlet.recv_dry_run();
    assert!(soon(statuses.next()).await.unwrap().unwrap().is_success());
    assert!(soon(statuses.next()).await.is_none());
    assert_eq!(statuses.close_code(), Some(1000));
    // The gateway has long answered and closed, as the dry run asked it to.
    clientlet.send_dry_run().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_with_the_executor_down_is_a_close_with_the_reason() {
    let gateway = gateway_with(&[]).await;
    gateway.control().executor_down(true);
    let mut clientlet = started(&gateway, "/dry_run", &ClientletOptions::new()).await;
    clientlet.send_dry_run().await.unwrap();
    assert!(soon(clientlet.recv_dry_run().next()).await.is_none());
    assert_eq!(clientlet.close_code(), Some(1011));
    let reason = clientlet.close_message().unwrap();
    assert!(reason.contains("deployment"), "{reason}");
}

#[tokio::test]
async fn an_executor_that_is_down_ends_the_answers_with_the_reason() {
    let gateway = gateway_with(&[]).await;
    gateway.control().executor_down(true);
    let mut clientlet = plain(&gateway).await;
    clientlet.send_message(&request("a")).await.unwrap();
    let mut responses = clientlet.recv_message();
    assert!(soon(responses.next()).await.is_none());
    assert_eq!(responses.close_code(), Some(1011));
    assert!(responses.close_message().unwrap().contains("deployment"));
}

#[tokio::test]
async fn an_executors_exception_is_an_error_with_the_id_and_documents_of_its_request() {
    let gateway = gateway_with(&[]).await;
    let mut clientlet = plain(&gateway).await;
    let failing = DataRequest::proto(DocArray::V1, "/fail").with_request_id("bad");
    let failing = failing.parameters(&json!({"message": "boom"})).unwrap();
    let failing = failing.document(&Document::text("hello")).unwrap();
    clientlet.send_message(&failing).await.unwrap();
    clientlet.send_message(&request("good")).await.unwrap();
    clientlet.send_eoi().await.unwrap();
    let mut responses = clientlet.recv_message();
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.request_id()), (ErrorKind::Executor, Some("bad")));
    assert!(error.message().contains("boom"), "{error}");
    assert_eq!(error.response().unwrap().documents::<Document>().unwrap().len(), 1);
    assert_eq!(rest(&mut responses).await, ["good"]);
}

#[tokio::test]
async fn a_lost_connection_ends_the_answers_and_sending_continues_over_a_new_one() {
    for fault in ["drop@3", "reset-after@3", "close:1012:restarting@3"] {
        let gateway = gateway_with(&[fault]).await;
        let mut clientlet = started(&gateway, "/", &hasty(3)).await;
        for id in ["a", "b", "lost"] {
            clientlet.send_message(&request(id)).await.unwrap();
        }
        let mut responses = clientlet.recv_message();
        assert_eq!(rest(&mut responses).await, ["a", "b"], "{fault}");
        let code = if fault.starts_with("close") { 1012 } else { 1006 };
        assert_eq!(responses.close_code(), Some(code), "{fault}");
        assert!(!responses.close_message().unwrap().is_empty());

        // The connection is dead by now: the first attempt fails, and the second opens another.
        clientlet.send_message(&request("c")).await.unwrap();
        clientlet.send_eoi().await.unwrap();
        let mut responses = clientlet.recv_message();
        assert_eq!(rest(&mut responses).await, ["c"], "the lost answer never comes: {fault}");
        assert_eq!(responses.close_code(), Some(1000));
        assert_eq!(gateway.journal().websocket_connections(), 2, "{fault}");
        assert_eq!(gateway.journal().arrivals()["c"], 1);
    }
}

#[tokio::test]
async fn answers_of_a_lost_connection_come_before_those_of_the_new_one() {
    let gateway = gateway_with(&["drop@2"]).await;
    let mut clientlet = started(&gateway, "/", &hasty(5)).await;
    clientlet.send_message(&request("a")).await.unwrap();
    clientlet.send_message(&request("lost")).await.unwrap();
    // Sends until the loss is noticed. The test receives nothing meanwhile.
    soon(async {
        for n in 0.. {
            if gateway.journal().websocket_connections() == 2 {
                break;
            }
            let _ = clientlet.send_message(&request(&n.to_string())).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    clientlet.send_message(&request("z")).await.unwrap();
    clientlet.send_eoi().await.unwrap();
    let mut first = clientlet.recv_message();
    assert_eq!((rest(&mut first).await, first.close_code()), (vec!["a".to_owned()], Some(1006)));
    let mut second = clientlet.recv_message();
    let ids = rest(&mut second).await;
    assert!(ids.contains(&"z".to_owned()) && !ids.contains(&"a".to_owned()), "{ids:?}");
    assert_eq!(second.close_code(), Some(1000));
}

#[tokio::test]
async fn without_retries_a_dead_connection_is_an_error_until_the_next_start() {
    let gateway = gateway_with(&["drop@1"]).await;
    let mut clientlet = plain(&gateway).await;
    clientlet.send_message(&request("lost")).await.unwrap();
    assert!(soon(clientlet.recv_message().next()).await.is_none());
    let error = clientlet.send_message(&request("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
    assert_eq!((error.attempts().len(), error.request_id()), (1, Some("a")));
    assert!(!clientlet.is_open());
    clientlet.start().await.unwrap();
    clientlet.send_message(&request("a")).await.unwrap();
    assert_eq!(soon(clientlet.recv_message().next()).await.unwrap().unwrap().request_id(), "a");
}

#[tokio::test]
async fn sending_is_tried_up_to_max_attempts_and_each_attempt_is_reported() {
    let gateway = gateway_with(&["drop@1"]).await;
    let mut clientlet = started(&gateway, "/", &hasty(3)).await;
    clientlet.send_message(&request("lost")).await.unwrap();
    assert!(soon(clientlet.recv_message().next()).await.is_none());
    gateway.stop().await;
    let error = soon(clientlet.send_message(&request("a"))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent));
    assert_eq!(error.attempts().len(), 3);
}

#[tokio::test]
async fn a_refused_upgrade_is_an_error_with_status_and_body() {
    let gateway = gateway_with(&["status:401@1,on=upgrade"]).await;
    let refuse = async |url: String| {
        let mut clientlet = WebsocketClientlet::new(&url, &ClientletOptions::new()).unwrap();
        let error = soon(clientlet.start()).await.unwrap_err();
        assert!(!clientlet.is_open());
        assert_eq!(error.delivery(), Delivery::NotSent);
        error
    };
    let error = refuse(gateway.websocket_url()).await;
    assert_eq!(
        (error.kind(), error.http_status().map(|status| status.as_u16())),
        (ErrorKind::Gateway, Some(401))
    );
    assert!(error.message().contains("scripted"), "the error shows the body: {error}");
    let error = refuse(format!("{}/elsewhere", gateway.websocket_url())).await;
    assert_eq!(
        (error.kind(), error.http_status().map(|status| status.as_u16())),
        (ErrorKind::Gateway, Some(403))
    );
    let http = gateway.http_url().replace("http://", "ws://");
    let error = refuse(http).await;
    assert!(error.message().contains("did not upgrade"), "{error}");
}

#[tokio::test]
async fn a_clientlet_sends_between_start_and_close_and_can_be_started_again() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new();
    let mut clientlet = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    let refused = async |clientlet: &WebsocketClientlet| {
        let error = clientlet.send_message(&request("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NotSent));
        let error = clientlet.send_eoi().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    };
    refused(&clientlet).await;
    assert!(soon(clientlet.recv_message().next()).await.is_none());
    for round in 1..=2 {
        clientlet.start().await.unwrap();
        clientlet.start().await.unwrap();
        assert!(clientlet.is_open());
        clientlet.send_message(&request("a")).await.unwrap();
        assert_eq!(soon(clientlet.recv_message().next()).await.unwrap().unwrap().request_id(), "a");
        soon(clientlet.close()).await;
        assert_eq!(clientlet.close_code(), Some(1000));
        assert!(!clientlet.is_open());
        refused(&clientlet).await;
        assert!(soon(clientlet.recv_message().next()).await.is_none());
        assert_eq!(gateway.journal().websocket_connections(), round);
    }
}

#[tokio::test]
async fn a_message_of_the_wrong_type_ends_the_answers_with_an_error() {
    let gateway = gateway_with(&["wrong-type@2"]).await;
    let mut clientlet = plain(&gateway).await;
    clientlet.send_message(&request("a")).await.unwrap();
    clientlet.send_message(&request("b")).await.unwrap();
    let mut responses = clientlet.recv_message();
    assert_eq!(soon(responses.next()).await.unwrap().unwrap().request_id(), "a");
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.message().contains("text"), "{error}");
    assert!(soon(responses.next()).await.is_none());
    assert_eq!(responses.close_code(), Some(1003));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_answers_with_an_error_that_names_the_limit() {
    let gateway = gateway_with(&["oversize:100000@1"]).await;
    let options = ClientletOptions::new().answer_limit(50_000);
    let mut clientlet = started(&gateway, "/", &options).await;
    clientlet.send_message(&request("a")).await.unwrap();
    let mut responses = clientlet.recv_message();
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("50000"), "{error}");
    assert!(soon(responses.next()).await.is_none());
    assert_eq!(responses.close_code(), Some(1009));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_an_error_and_the_other_answers_come() {
    let gateway = gateway_with(&["malformed@1"]).await;
    let mut clientlet = plain(&gateway).await;
    clientlet.send_message(&request("a")).await.unwrap();
    clientlet.send_message(&request("b")).await.unwrap();
    clientlet.send_eoi().await.unwrap();
    let mut responses = clientlet.recv_message();
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(rest(&mut responses).await, ["b"]);
    assert_eq!(responses.close_code(), Some(1000));
}

#[tokio::test]
async fn sending_and_receiving_happen_at_the_same_time() {
    const COUNT: usize = 5000;
    let gateway = gateway_with(&[]).await;
    let mut clientlet = plain(&gateway).await;
    let sender = clientlet.sender();
    let sending = tokio::spawn(async move {
        for n in 0..COUNT {
            sender.send_message(&request(&n.to_string())).await.unwrap();
        }
        sender.send_eoi().await.unwrap();
    });
    let mut responses = clientlet.recv_message();
    let ids: BTreeSet<String> = rest(&mut responses).await.into_iter().collect();
    assert_eq!((ids.len(), responses.close_code()), (COUNT, Some(1000)));
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_pauses_stops_the_sender_and_no_answer_is_lost() {
    // A gateway works on 1000 requests of a connection at a time, and sockets hold a few megabytes.
    const COUNT: usize = 4000;
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new().answer_limit(100_000);
    let mut clientlet = started(&gateway, "/", &options).await;
    let (sender, text) = (clientlet.sender(), "x".repeat(20_000));
    let mut sending = tokio::spawn(async move {
        let request = DataRequest::proto(DocArray::V1, "/").document(&Document::text(text));
        let request = request.unwrap();
        for _ in 0..COUNT {
            sender.send_message(&request).await.unwrap();
        }
        sender.send_eoi().await.unwrap();
    });
    let has_ended = tokio::time::timeout(Duration::from_secs(2), &mut sending).await.is_ok();
    assert!(!has_ended, "80 MB cannot be in flight if only a tenth of it is kept");
    let mut responses = clientlet.recv_message();
    let mut count = 0;
    while let Some(response) = soon(responses.next()).await {
        count += response.unwrap().documents::<Document>().unwrap().len();
    }
    assert_eq!((count, responses.close_code()), (COUNT, Some(1000)));
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_receiver_loses_no_answer() {
    const COUNT: usize = 300;
    let gateway = gateway_with(&[]).await;
    let mut clientlet = plain(&gateway).await;
    for n in 0..COUNT {
        clientlet.send_message(&request(&n.to_string())).await.unwrap();
    }
    clientlet.send_eoi().await.unwrap();
    let mut ids = BTreeSet::new();
    let is_closed = async {
        loop {
            // Each turn has a stream of its own, which is dropped at once if no answer is ready.
            let mut responses = clientlet.recv_message();
            tokio::select! {
                biased;
                response = responses.next() => match response {
                    Some(response) => assert!(ids.insert(response.unwrap().request_id().to_owned())),
                    None => return responses.close_code(),
                },
                () = tokio::task::yield_now() => {}
            }
        }
    };
    assert_eq!(soon(is_closed).await, Some(1000));
    assert_eq!(ids.len(), COUNT);
}

#[tokio::test]
async fn a_sending_that_is_cancelled_sends_whole_messages_or_none() {
    let gateway = gateway_with(&[]).await;
    let mut clientlet = plain(&gateway).await;
    let text = "x".repeat(30_000);
    for n in 0..200 {
        let request = DataRequest::proto(DocArray::V1, "/").with_request_id(n.to_string());
        let request = request.document(&Document::text(&*text)).unwrap();
        tokio::select! {
            biased;
            sent = clientlet.send_message(&request) => sent.unwrap(),
            () = async { for _ in 0..n % 5 { tokio::task::yield_now().await } } => {}
        }
    }
    clientlet.send_eoi().await.unwrap();
    let mut responses = clientlet.recv_message();
    let mut answered = BTreeSet::new();
    while let Some(response) = soon(responses.next()).await {
        assert!(answered.insert(response.unwrap().request_id().to_owned()));
    }
    assert_eq!(responses.close_code(), Some(1000), "no message was cut");
    let arrived: BTreeSet<String> = gateway.journal().arrivals().into_keys().collect();
    assert_eq!(arrived, answered);
}

#[tokio::test]
async fn dropping_a_clientlet_closes_its_connection_and_its_senders() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let sender = clientlet.sender();
    sender.send_message(&request("a")).await.unwrap();
    drop(clientlet);
    let error = sender.send_message(&request("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    // A gateway waits for its connections, so it stops at once only if they have closed.
    tokio::time::timeout(Duration::from_secs(4), gateway.stop()).await.unwrap();
}

#[tokio::test]
async fn sending_to_a_gateway_that_does_not_read_times_out_and_may_have_arrived() {
    let gateway = gateway_with(&["half-open@1"]).await;
    let options = hasty(3).attempt_timeout(Duration::from_secs(2));
    let mut clientlet = started(&gateway, "/", &options).await;
    let text = "x".repeat(16 << 20);
    let request = DataRequest::proto(DocArray::V1, "/").document(&Document::text(text)).unwrap();
    let error = soon(async {
        loop {
            if let Err(error) = clientlet.send_message(&request).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
    assert_eq!(error.attempts().len(), 1, "the request may still be sent, so it is not retried");
    soon(clientlet.close()).await;
    assert_eq!(clientlet.close_code(), Some(1006));
}

#[tokio::test]
async fn the_upgrade_carries_headers_credentials_and_cookies() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new()
        .header("x-session", "s")
        .basic_auth("user", "password")
        .cookie("a", "1");
    let clientlet = started(&gateway, "/", &options).await;
    clientlet.send_message(&request("a")).await.unwrap();
    gateway.journal().wait_for(1).await;
    let headers = &gateway.journal().entries()[0].headers;
    assert_eq!(headers["x-session"], "s");
    assert_eq!(headers["authorization"], "Basic dXNlcjpwYXNzd29yZA==");
    assert_eq!(headers["cookie"], "a=1");
    assert_eq!(headers["sec-websocket-protocol"], "bytes");
}

#[tokio::test]
async fn requests_and_options_that_websocket_does_not_have_are_refused_with_advice() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let error = clientlet.send_message(&DataRequest::new(DocArray::V1, "/")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Encode, Delivery::NotSent));
    assert!(error.message().contains("DataRequest::proto"), "{error}");
    let error = WebsocketClientlet::new("http://h/", &ClientletOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
