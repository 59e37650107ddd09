//! An answer with any status. The first two bytes are the status minus 100, little-endian. The bits of
//! the third byte choose JSON or plain text, v2 or v1, and whether the first line of the text is the
//! Retry-After header.
#![no_main]

use bytes::Bytes;
use clientlet::DocArray;
use clientlet::clientlets::HttpAnswer;
use clientlet_fuzz::check_error;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[low, high, bits], mut body)) = input.split_first_chunk() else { return };
    let status = 100 + u16::from_le_bytes([low, high]) % 900;
    let content_type = if bits & 1 == 0 { "application/json" } else { "text/plain; charset=utf-8" };
    let docarray = if bits & 2 == 0 { DocArray::V2 } else { DocArray::V1 };
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    if bits & 4 != 0 {
        let line = body.split(|&byte| byte == b'\n').next().unwrap_or_default();
        body = body.get(line.len() + 1..).unwrap_or_default();
        if let Ok(retry_after) = HeaderValue::from_bytes(line) {
            response = response.header(RETRY_AFTER, retry_after);
        }
    }
    let response = response.body(Bytes::copy_from_slice(body)).expect("a status from 100 to 999");
    let answer = HttpAnswer::from(response);
    if let Err(error) = answer.response(docarray) {
        check_error(&error);
    }
    if let Err(error) = answer.status_message() {
        check_error(&error);
    }
});
