//! Writes the seeds with which the fuzzer starts to `corpus/TARGET`: answers of real gateways, and a few
//! texts of each form. Other files in the corpus stay.

mod server;

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

const URLS: [&str; 6] = [
    "http://localhost:8080",
    "HTTP://user:pa%2Fss@[::1]:8080/below/here?query=1#fragment",
    "localhost:8080",
    "grpc://host:70000",
    "http://user:\0host:9090:9090/x",
    "http://\0host/@path",
];

const FAULTS: [&str; 10] = [
    "refuse@1",
    "reset-before@2-5",
    "reset-after@20%,seed=7",
    "reset-mid@/3",
    "stall@0.5%",
    "status:503@1",
    "status:503:1@/2,seed=0,path=/status",
    "status:429:Wed, 21 Oct 2015 07:28:00 GMT@1",
    "slow:0.25@100%",
    "malformed@7,path=/openapi.json",
];

const LINES: [&str; 3] = [
    "\u{feff}{\"id\": \"a\"}\r\n\n \t\n{\"id\": \"b\", \"embedding\": [0.5, -1e-3]}",
    "{\"a\": }\n  {\"a\": 1\n[1]\nnull\n{\"a\": -Infinity}\n{\"a\": NaN}\n",
    "{\"text\": \"a line that is longer than the longest which is allowed here\"}\n{}\n",
];

const EVENTS: [&str; 3] = [
    "event: update\r\ndata: {\"id\": \"s0\"}\r\n\r\nevent: end\r\n\r\n\u{7}",
    "\u{feff}data: {\ndata: }\revent:update\r\r: comment\n\nevent: end\n\n\u{3}",
    "id: 7\nretry: 9\nevent\ndata\nother: x\n\nevent: end\u{1}",
];

/// Content in each coding, behind the number of the coding and the size of a piece.
const COMPRESSED: [&[u8]; 5] = [
    b"\x00\x03\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcbH\xcd\xc9\xc9\xd7Q\xc8\x00Q\x00\xff\xc5\xcc\xf3\x0c\x00\x00\x00",
    b"\x01\x03x\x9c\xcbH\xcd\xc9\xc9\xd7Q\xc8\x00Q\x00\x1c\xda\x04u",
    b"\x01\x03\xcbH\xcd\xc9\xc9\xd7Q\xc8\x00Q\x00",
    b"\x02\x03\x0b\x02\x80hello\x03",
    b"\x03\x03(\xb5/\xfd \x05)\x00\x00hello",
];

fn main() -> Result<(), Box<dyn Error>> {
    for (target, texts) in [
        ("url", URLS.as_slice()),
        ("fault_spec", &FAULTS),
        ("json_lines", &LINES),
        ("events", &EVENTS),
    ] {
        for (n, text) in texts.iter().enumerate() {
            lay(target, &format!("text-{n}"), text.as_bytes())?;
        }
    }
    for (n, content) in COMPRESSED.iter().enumerate() {
        lay("compressed", &format!("content-{n}"), content)?;
    }
    server::lay_all()?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    for environment in ["seed-era", "current-v1", "current"] {
        for entry in fs::read_dir(fixtures.join(environment))? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|end| end == "bin") {
                lay_frame(environment, &format!("{environment}-{name}"), &fs::read(&path)?)?;
            }
            if name.starts_with("http_") && path.extension().is_some_and(|end| end == "json") {
                let fixture = serde_json::from_slice(&fs::read(&path)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                lay_fixture(environment, &format!("{environment}-{name}"), &fixture)?;
            }
        }
    }
    Ok(())
}

/// Writes a message that was recorded in protobuf, and its documents alone.
fn lay_frame(environment: &str, name: &str, frame: &[u8]) -> Result<(), Box<dyn Error>> {
    let generation = if environment == "current" { "v2" } else { "v1" };
    lay(&format!("message_{generation}"), name, frame)?;
    lay(&format!("request_{generation}"), name, frame)?;
    for (n, data) in parts(frame, 4).enumerate() {
        server::lay_data(generation, &format!("{name}-{n}"), data)?;
    }
    for (n, list) in parts(frame, 4).flat_map(|data| parts(data, 1)).enumerate() {
        lay(&format!("documents_{generation}"), &format!("{name}-{n}"), list)?;
    }
    Ok(())
}

/// The fields with this number in a message whose fields all hold bytes.
fn parts(mut message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let key = varint(&mut message)?;
        let length = usize::try_from(varint(&mut message)?).ok()?;
        let (content, behind) = message.split_at_checked(length)?;
        message = behind;
        Some((key >> 3, content))
    })
    .filter(move |(found, _)| *found == number)
    .map(|(_, content)| content)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = bytes.split_first()?;
        *bytes = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn lay_fixture(environment: &str, name: &str, fixture: &Value) -> Result<(), Box<dyn Error>> {
    let is_v2 = environment == "current";
    // The endpoints' description was recorded alone, without its exchange.
    let Some(status) = fixture["status"].as_u64() else {
        return lay("openapi", name, fixture.to_string().as_bytes());
    };
    let body = match &fixture["response"] {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let target = match fixture["request"]["path"].as_str() {
        Some("/status" | "/dry_run") => "status",
        _ if is_v2 => "answer_v2",
        _ => "answer_v1",
    };
    lay(target, name, body.as_bytes())?;
    server::lay_answer(is_v2, name, status, fixture["content_type"].as_str(), &body)?;
    let [low, high, ..] = (status - 100).to_le_bytes();
    let is_text = !fixture["content_type"].as_str().unwrap_or_default().contains("json");
    let bits = u8::from(is_text) | u8::from(!is_v2) << 1;
    lay("error_body", name, &[&[low, high, bits], body.as_bytes()].concat())?;
    let later = b"Wed, 21 Oct 2015 07:28:00 GMT\n";
    let waiting = [&[low, high, bits | 4], later.as_slice(), body.as_bytes()].concat();
    lay("error_body", &format!("{name}-later"), &waiting)?;
    let documents = [&fixture["request"]["body"]["data"], &fixture["response"]["data"]];
    for (n, document) in documents.iter().filter_map(|d| d.as_array()).flatten().enumerate() {
        lay("encode", &format!("{name}-{n}"), document.to_string().as_bytes())?;
    }
    Ok(())
}

fn lay(target: &str, name: &str, seed: &[u8]) -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&corpus)?;
    fs::write(corpus.join(name), seed)?;
    Ok(())
}
