//! A gateway's status, and a dry run of its deployments.
#![no_main]

use bytes::Bytes;
use clientlet::GatewayStatus;
use clientlet::clientlets::HttpAnswer;
use clientlet_fuzz::check_error;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(status) = serde_json::from_slice::<GatewayStatus>(body) {
        let _ = (status.jina_release(), status.docarray());
        let again = serde_json::to_vec(&status).expect("texts alone");
        assert_eq!(serde_json::from_slice::<GatewayStatus>(&again).expect("our own"), status);
    }
    let answer = HttpAnswer::from(http::Response::new(Bytes::copy_from_slice(body)));
    match answer.status_message() {
        Ok(status) => assert_eq!(status.is_success(), status.code == 0),
        Err(error) => check_error(&error),
    }
});
