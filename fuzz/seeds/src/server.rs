//! Writes the bytes that gateways send on a whole connection. Two bytes before them choose how they are
//! sent and what the client asks (see `fuzz/src/server.rs`). The ids are those of the fuzzer's client.

use std::error::Error;

use super::lay;

/// The first byte: documents v1 and requests. Without the lowest bit, documents v2; 4 stands for
/// questions, 6 for a stream of documents.
const V1: u8 = 1;
const V2: u8 = 0;
/// The second byte: the bytes come in large pieces.
const PIECE: u8 = 255;

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// Writes endings and oddities that no fixture has.
pub(crate) fn lay_all() -> Result<(), Box<dyn Error>> {
    let http = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 \r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"d\r\n8\r\nata\":[]}\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nlocation: http://h/other\r\nconnection: close\r\n\r\n<html>",
        "HTTP/1.0 413 Payload Too Large\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: update\r\ndata: {}\r\n\r\nevent: end\r\n\r\n",
    ];
    for (n, text) in http.iter().enumerate() {
        for flags in [V1, V2, 4, 6] {
            lay("server_http", &format!("text-{n}-{flags}"), &said(flags, text.as_bytes()))?;
        }
    }
    let frames: [&[u8]; 6] = [
        b"\x89\x04ping\x8a\x04pong\x88\x02\x03\xe8",
        b"\x88\x0b\x03\xf3deployment",
        b"\x02\x02\x0a\x14\x80\x14\x0a\x120123456789abcdef-0",
        b"\x81\x02{}",
        b"\x82\x7e\x01\x00",
        b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for (n, frames) in frames.iter().enumerate() {
        lay("server_websocket", &format!("frames-{n}"), &said(V1, frames))?;
    }
    let statuses = [
        ("0", ""),
        ("14", "failed to connect |Gateway: deployment at address(es) {'0.0.0.0:5'}"),
        ("8", "full"),
        ("2", "Unexpected <class 'jina.excepts.InternalNetworkError'>"),
    ];
    for (n, (status, message)) in statuses.iter().enumerate() {
        let mut trailers = header(b"grpc-status", status.as_bytes());
        trailers.extend(header(b"grpc-message", message.as_bytes()));
        trailers.extend(header(b"grpc-status-details-bin", b"AAAA"));
        trailers.extend(header(b"grpc-retry-pushback-ms", b"-1"));
        let bytes = [SETTINGS, &head(1), &frame(1, 5, 1, &trailers)].concat();
        lay_grpc(&format!("status-{n}"), &bytes)?;
        let only = [&b"\x88\x5f\x10application/grpc"[..], &trailers].concat();
        lay_grpc(&format!("only-trailers-{n}"), &[SETTINGS, &frame(1, 5, 1, &only)].concat())?;
    }
    let endings = [
        frame(3, 0, 1, &7_u32.to_be_bytes()),
        frame(3, 0, 1, &2_u32.to_be_bytes()),
        frame(7, 0, 0, &[0; 8]),
        frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"),
        frame(6, 0, 0, b"pingpong"),
        frame(8, 0, 0, &1_u32.to_be_bytes()),
        frame(1, 5, 1, b"\x8d"),
    ];
    for (n, ending) in endings.iter().enumerate() {
        lay_grpc(&format!("ending-{n}"), &[SETTINGS, ending].concat())?;
        lay_grpc(&format!("late-ending-{n}"), &[SETTINGS, &head(1), ending].concat())?;
    }
    Ok(())
}

/// Writes the same answer for each of three requests, with the data of a gateway's answer.
pub(crate) fn lay_data(generation: &str, name: &str, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let flags = if generation == "v1" { V1 } else { V2 };
    let answers: Vec<Vec<u8>> = (0..3)
        .map(|n| {
            let id = field(1, format!("0123456789abcdef-{n}").as_bytes());
            [field(1, &id), field(4, data)].concat()
        })
        .collect();
    let frames = answers.iter().flat_map(|answer| {
        let mut frame = vec![0x82];
        match u8::try_from(answer.len()) {
            Ok(length @ ..126) => frame.push(length),
            _ => {
                frame.push(126);
                frame.extend(u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        frame.extend_from_slice(answer);
        frame
    });
    lay("server_websocket", name, &said(flags, &frames.collect::<Vec<u8>>()))?;

    let trailers = header(b"grpc-status", b"0");
    let mut stream = [SETTINGS, &head(1)].concat();
    answers.iter().for_each(|answer| stream.extend(frame(0, 0, 1, &message(answer))));
    stream.extend(frame(1, 5, 1, &trailers));
    lay("server_grpc", name, &said(flags, &stream))?;

    let mut unary = SETTINGS.to_vec();
    for (answer, stream) in answers.iter().zip([1, 3, 5]) {
        unary.extend(head(stream));
        unary.extend(frame(0, 0, stream, &message(answer)));
        unary.extend(frame(1, 5, stream, &trailers));
    }
    lay("server_grpc_unary", name, &said(flags, &unary))
}

/// Writes a gateway's answer over HTTP.
pub(crate) fn lay_answer(
    is_v2: bool,
    name: &str,
    status: u64,
    content_type: Option<&str>,
    body: &str,
) -> Result<(), Box<dyn Error>> {
    let kind = content_type.unwrap_or("application/json");
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client first asks a v2 gateway for its endpoints.
    let hidden = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let text = if is_v2 { format!("{hidden}{answer}") } else { answer };
    lay("server_http", name, &said(if is_v2 { V2 } else { V1 }, text.as_bytes()))?;
    lay("server_http", &format!("{name}-asked"), &said(4, text.as_bytes()))
}

fn lay_grpc(name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    for target in ["server_grpc", "server_grpc_unary"] {
        for flags in [V1, 4, 6] {
            lay(target, &format!("{name}-{flags}"), &said(flags, bytes))?;
        }
    }
    Ok(())
}

fn said(flags: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flags, PIECE], bytes].concat()
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of an answer in gRPC.
fn head(stream: u32) -> Vec<u8> {
    frame(1, 4, stream, b"\x88\x5f\x10application/grpc")
}

/// A header field that is not in HPACK's tables.
fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap_or(0).min(126);
    [&[0, length(name)], name, &[length(value)], value].concat()
}

/// A framed gRPC message.
fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &length, content].concat()
}

/// A field of protobuf that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut left = content.len();
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(content);
    out
}
