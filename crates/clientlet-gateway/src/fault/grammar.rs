//! The grammar of faults.

use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;

use super::{Fault, FaultError, FaultKind, On, Target, When};

/// The most bytes of a reason that fit a close frame.
const LONGEST_REASON: usize = 123;
/// The largest message of `oversize`. A larger one might exhaust the memory.
const MOST_BYTES: usize = 1 << 30;

/// The largest `bomb`, whose compressed bytes must fit the memory.
const MOST_BOMB: u64 = 1 << 36;

/// The grammar of a fault with examples, for a command's `--help`.
pub const FAULT_HELP: &str = "\
A fault is KIND[:ARG]@WHEN[,seed=N][,path=/PATH][,pushback=MS][,on=upgrade|handshake]. If several
faults match a request, the first one applies. A protocol ignores kinds that it does not have.

KIND, over HTTP
  refuse              reset the connection as soon as it is accepted (WHEN counts connections)
  reset-before        reset when the request begins to arrive; it is never read
  reset-after         read the whole request, run nothing, reset
  reset-mid           run the request, send half of the answer, reset
  stall               read the request and never answer
  status:CODE[:RETRY] answer CODE at once, with a Retry-After header of RETRY if given
  redirect:CODE:URL   answer CODE (301, 302, 303, 307 or 308) at once, with URL as the Location
  early:CODE          answer CODE before the body is read, and reset after the answer
  hang-up             answer, then close the connection without announcing it
  gzip                answer compressed with gzip, although the client did not ask for it
  bomb:BYTES          answer compressed with gzip, with BYTES spaces before the JSON
  slow:SECONDS        send the answer's head at once, its body in pieces over SECONDS
  malformed           answer 200 with JSON that breaks off in the middle
  shifted             answer with the answer to the previous request

KIND, over WebSocket (if the connection ends, its other requests in flight are lost)
  refuse              as over HTTP
  drop                end the connection without a close frame (FIN) when the message has arrived
  reset-after         like drop, with a reset
  close:CODE[:REASON] close with this code, even a forbidden one, and this reason
  half-open           from this message on read nothing, write nothing, and stay open
  ping-flood          from this message on read nothing, pongs included, and send pings without end
  truncated           send half of the answer's frame, then FIN
  reset-mid           send half of the answer's frame, then reset
  stall               never answer this message; the end marker is not answered either
  slow:SECONDS        answer SECONDS later
  twice               send the answer twice
  reorder             hold the answer until the next one was sent, at most for a second
  unknown-id          answer with another request id
  malformed           answer with a message that cannot be decoded
  wrong-type          answer with text instead of binary, or the reverse
  oversize:BYTES      answer with a message of BYTES zero bytes

KIND, over gRPC (if the stream or the connection ends, its other requests in flight are lost)
  refuse, reset-after, reset-mid, half-open, stall, slow, twice, reorder, unknown-id, malformed,
  oversize            as over WebSocket
  reset-before        as reset-after, but the message is not in the journal
  grpc-status:CODE[:MESSAGE]
                      end the call with this status; with pushback=MS its trailers have
                      grpc-retry-pushback-ms
  reset-stream[:CODE] reset the stream with this HTTP/2 code, by default 2 (INTERNAL_ERROR); with 7
                      (REFUSED_STREAM) the message is not in the journal, and the code is 2 if the
                      message is not the stream's first
  goaway[:CODE]       send a GOAWAY with this code, by default 0; with 0 open streams go on, with
                      another code the connection ends
  goaway-after[:CODE] send a GOAWAY with this code, by default 0, that names the stream before the
                      message's as the last one: later streams are ignored, so the message is not in
                      the journal, and streams up to the last one go on; if the message is not its
                      stream's first, the GOAWAY names the last stream that was looked at, and the
                      message is answered
  half-close          end the call with success, without an answer
  drop                end the connection without a GOAWAY (FIN)
  truncated           send half of the answer, then end the call with success
  gzip                answer with a message compressed with gzip, without being asked
  bomb:BYTES          the same, with an unknown field of BYTES zero bytes in the message
  wrong-type          answer with something other than gRPC; an answer that is not the stream's
                      first is marked as compressed in an unknown way
  status:CODE[:RETRY], redirect:CODE:URL
                      answer with an HTTP status, or reset a stream that had an answer already
  On a stream of documents the fault applies to the first answer.

KIND, with on=upgrade (WHEN counts requests to upgrade to WebSocket)
  status:CODE[:RETRY], redirect:CODE:URL, stall, drop, reset-after   instead of 101
  malformed           101 with a wrong Sec-WebSocket-Accept
  subprotocol:NAME    101 with this Sec-WebSocket-Protocol

KIND, with on=handshake, behind TLS (WHEN counts connections)
  reset-after, drop   reset, or FIN without an alert, when the client's first message has arrived
  stall               never answer the client's first message
  plain               speak plain text instead of TLS
  expired, not-yet-valid, wrong-name, wrong-usage
                      a certificate of the same CA that is not valid any more or not yet, that is
                      for elsewhere.test, or that is only for clients
  unknown-issuer      a certificate of a CA that no client knows
  self-signed         a certificate that is its own issuer
  alpn[:NAME]         agree on no protocol but NAME; without NAME, on none at all
  only-tls:1.N        speak only TLS 1.1, 1.2 or 1.3

WHEN
  N                   the Nth request, counted from 1
  N-M                 the Nth to the Mth
  /N                  every Nth
  P%                  each with this probability; the same seed gives the same requests

Only requests that carry data count: POST, PUT, DELETE, WebSocket messages except the end marker,
and gRPC messages of Call, process_single_data and stream_doc, over all connections. With path=/PATH
the fault applies to, and counts, GETs of that path instead, or calls of a gRPC method that carries
no data (path=/jina.JinaInfoRPC/_status). With on=upgrade it applies to requests to upgrade to
WebSocket at the path, by default /. With on=handshake it applies to TLS handshakes.

Examples
  reset-after@20%,seed=7      a fifth of the requests are read and lost
  status:503:1@1-3            the first three get a 503 with a Retry-After of a second
  stall@/100                  every hundredth request is never answered
  status:500@1,path=/status   the first GET /status fails
  drop@/50                    every fiftieth WebSocket message ends its connection
  close:1012:restart@7        the seventh message closes it
  status:503@1-2,on=upgrade   the first two upgrades are turned away
  reset-stream@5              the fifth message resets its stream
  grpc-status:14@1,pushback=200   the first call is told to come back in 200 ms
  expired@1,on=handshake      the first connection gets an expired certificate
";

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(spec: &str) -> Result<Self, FaultError> {
        parse(spec).map_err(|reason| FaultError(format!("fault `{spec}`: {reason}")))
    }
}

fn parse(spec: &str) -> Result<Fault, String> {
    // The last `@` counts, because the text of a Retry-After may contain one.
    let (kind, rest) = spec
        .rsplit_once('@')
        .ok_or("it has no `@WHEN`; write KIND[:ARG]@WHEN, for example reset-after@20%")?;
    let kind = parse_kind(kind)?;
    let mut parts = rest.split(',');
    let when = parse_when(parts.next().unwrap_or_default())?;
    let mut fault = Fault { kind, when, seed: None, path: None, on: None };
    for part in parts {
        match part.split_once('=') {
            Some(("seed", seed)) if fault.seed.is_none() => {
                let seed = seed.parse().map_err(|_| format!("seed `{seed}` is no whole number"))?;
                fault.seed = Some(seed);
            }
            Some(("path", path)) if fault.path.is_none() => {
                if !path.starts_with('/') {
                    return Err(format!("path `{path}` does not start with /"));
                }
                fault.path = Some(path.to_owned());
            }
            Some(("pushback", value)) => match &mut fault.kind {
                FaultKind::GrpcStatus { pushback, .. } if pushback.is_none() => {
                    if value.is_empty() || HeaderValue::from_str(value).is_err() {
                        let shown = value.escape_debug();
                        return Err(format!("pushback `{shown}` cannot be sent in trailers"));
                    }
                    *pushback = Some(value.to_owned());
                }
                FaultKind::GrpcStatus { .. } => return Err("pushback is given twice".into()),
                kind => return Err(format!("{kind} has no pushback; grpc-status has")),
            },
            Some(("on", "upgrade")) if fault.on.is_none() => fault.on = Some(On::Upgrade),
            Some(("on", "handshake")) if fault.on.is_none() => fault.on = Some(On::Handshake),
            Some((name @ ("seed" | "path" | "on"), _)) if has(&fault, name) => {
                return Err(format!("{name} is given twice"));
            }
            _ => {
                return Err(format!(
                    "`{part}` is none of seed=N, path=/PATH, pushback=MS, on=upgrade and on=handshake"
                ));
            }
        }
    }
    check(&fault)?;
    Ok(fault)
}

/// Whether the fault has this part already.
fn has(fault: &Fault, part: &str) -> bool {
    match part {
        "seed" => fault.seed.is_some(),
        "path" => fault.path.is_some(),
        _ => fault.on.is_some(),
    }
}

/// Whether the kind can strike the target that the fault names.
fn check(fault: &Fault) -> Result<(), String> {
    let kind = &fault.kind;
    let strikes_requests = [Target::Connection, Target::Request, Target::Message, Target::Call];
    match fault.on {
        Some(On::Upgrade) if !kind.fits(Target::Upgrade) => {
            return Err(format!("{kind} does not strike upgrades"));
        }
        Some(On::Handshake) if !kind.fits(Target::Handshake) => {
            return Err(format!("{kind} does not strike handshakes"));
        }
        Some(On::Handshake) if fault.path.is_some() => {
            return Err("handshakes have no path".into());
        }
        None if matches!(kind, FaultKind::Subprotocol(_)) => {
            return Err("subprotocol strikes upgrades only; add on=upgrade".into());
        }
        None if !strikes_requests.into_iter().any(|target| kind.fits(target)) => {
            return Err(format!("{kind} strikes handshakes only; add on=handshake"));
        }
        _ => {}
    }
    if *kind == FaultKind::Refuse && fault.path.is_some() {
        return Err("refuse strikes connections, which have no path".into());
    }
    let Some(path) = fault.path.as_deref().filter(|_| fault.on.is_none()) else { return Ok(()) };
    match (is_method(path), kind.fits(Target::Call), kind.fits(Target::Request)) {
        (true, false, _) => Err(format!("{kind} does not strike gRPC, which the path speaks of")),
        (false, _, false) if kind.fits(Target::Message) => {
            Err(format!("{kind} strikes WebSocket and gRPC messages, which have no such path"))
        }
        (false, _, false) => Err(format!("{kind} strikes gRPC, whose paths are /SERVICE/METHOD")),
        _ => Ok(()),
    }
}

/// Whether a path names a gRPC method: `/package.Service/Method`.
fn is_method(path: &str) -> bool {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts.is_some_and(|(service, method)| service.contains('.') && !method.contains('/'))
}

fn parse_kind(text: &str) -> Result<FaultKind, String> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    match (name, argument) {
        ("status", Some(argument)) => return parse_status(argument),
        ("status", None) => return Err("status needs a code, for example status:503".into()),
        ("redirect", argument) => return parse_redirect(argument.unwrap_or_default()),
        ("early", argument) => return parse_early(argument.unwrap_or_default()),
        ("slow", argument) => return parse_slow(argument.unwrap_or_default()),
        ("close", argument) => return parse_close(argument.unwrap_or_default()),
        ("grpc-status", argument) => return parse_grpc_status(argument.unwrap_or_default()),
        ("reset-stream", code) => return parse_code(name, code, 2).map(FaultKind::ResetStream),
        ("goaway", code) => return parse_code(name, code, 0).map(FaultKind::GoAway),
        ("goaway-after", code) => return parse_code(name, code, 0).map(FaultKind::GoAwayAfter),
        ("bomb", argument) => return parse_bomb(argument.unwrap_or_default()),
        ("oversize", argument) => return parse_oversize(argument.unwrap_or_default()),
        ("subprotocol", argument) => return parse_subprotocol(argument.unwrap_or_default()),
        ("alpn", None) => return Ok(FaultKind::Alpn(None)),
        ("alpn", Some(name)) => return parse_alpn(name),
        ("only-tls", version) => return parse_version(version.unwrap_or_default()),
        _ => {}
    }
    let kind = match name {
        "refuse" => FaultKind::Refuse,
        "reset-before" => FaultKind::ResetBefore,
        "reset-after" => FaultKind::ResetAfter,
        "reset-mid" => FaultKind::ResetMid,
        "hang-up" => FaultKind::HangUp,
        "gzip" => FaultKind::Gzip,
        "stall" => FaultKind::Stall,
        "malformed" => FaultKind::Malformed,
        "shifted" => FaultKind::Shifted,
        "drop" => FaultKind::Drop,
        "half-open" => FaultKind::HalfOpen,
        "ping-flood" => FaultKind::PingFlood,
        "twice" => FaultKind::Twice,
        "reorder" => FaultKind::Reorder,
        "unknown-id" => FaultKind::UnknownId,
        "truncated" => FaultKind::Truncated,
        "wrong-type" => FaultKind::WrongType,
        "half-close" => FaultKind::HalfClose,
        "plain" => FaultKind::Plain,
        "wrong-name" => FaultKind::WrongName,
        "expired" => FaultKind::Expired,
        "not-yet-valid" => FaultKind::NotYetValid,
        "unknown-issuer" => FaultKind::UnknownIssuer,
        "self-signed" => FaultKind::SelfSigned,
        "wrong-usage" => FaultKind::WrongUsage,
        _ => {
            return Err(format!(
                "unknown kind `{name}`; kinds are refuse, reset-before, reset-after, reset-mid, \
                 stall, status:CODE, redirect:CODE:URL, slow:SECONDS, malformed, over HTTP early:CODE, hang-up, shifted, over HTTP and gRPC gzip, bomb:BYTES, \
                 over WebSocket and gRPC drop, half-open, \
                 twice, reorder, unknown-id, truncated, wrong-type, oversize:BYTES, over WebSocket \
                 close:CODE, ping-flood, subprotocol:NAME, over gRPC grpc-status:CODE, reset-stream, goaway, \
                 goaway-after, half-close, in handshakes plain, expired, not-yet-valid, wrong-name, \
                 wrong-usage, unknown-issuer, self-signed, alpn, only-tls:1.N"
            ));
        }
    };
    match argument {
        None => Ok(kind),
        Some(argument) => Err(format!("{name} takes no argument, not `{argument}`")),
    }
}

fn parse_status(argument: &str) -> Result<FaultKind, String> {
    let (code, retry_after) = match argument.split_once(':') {
        Some((code, after)) => (code, Some(after)),
        None => (argument, None),
    };
    let code = code
        .parse()
        .ok()
        .filter(|code| (200..600).contains(code))
        .ok_or_else(|| format!("status `{code}` is no number from 200 to 599"))?;
    if let Some(after) = retry_after
        && (after.is_empty() || HeaderValue::from_str(after).is_err())
    {
        return Err(format!("Retry-After `{}` cannot be sent in a header", after.escape_debug()));
    }
    Ok(FaultKind::Status { code, retry_after: retry_after.map(str::to_owned) })
}

fn parse_redirect(argument: &str) -> Result<FaultKind, String> {
    let (code, location) = argument.split_once(':').unwrap_or((argument, ""));
    let code = code.parse().ok().filter(|code| matches!(code, 301..=303 | 307 | 308));
    let code = code.ok_or_else(|| {
        format!("redirect needs 301, 302, 303, 307 or 308 and a URL, not `{argument}`")
    })?;
    if location.is_empty() || HeaderValue::from_str(location).is_err() {
        return Err(format!("Location `{}` cannot be sent in a header", location.escape_debug()));
    }
    Ok(FaultKind::Redirect { code, location: location.to_owned() })
}

fn parse_early(argument: &str) -> Result<FaultKind, String> {
    let code = argument.parse().ok().filter(|code| (200..600).contains(code));
    code.map(FaultKind::Early)
        .ok_or_else(|| format!("early needs a code from 200 to 599, not `{argument}`"))
}

fn parse_slow(argument: &str) -> Result<FaultKind, String> {
    argument
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(FaultKind::Slow)
        .ok_or_else(|| format!("slow needs seconds, for example slow:0.5, not `{argument}`"))
}

fn parse_close(argument: &str) -> Result<FaultKind, String> {
    let (code, reason) = argument.split_once(':').unwrap_or((argument, ""));
    let code = code.parse().map_err(|_| format!("close needs a code, not `{code}`"))?;
    if reason.len() > LONGEST_REASON {
        return Err(format!("the reason is longer than {LONGEST_REASON} bytes"));
    }
    Ok(FaultKind::Close { code, reason: reason.to_owned() })
}

fn parse_grpc_status(argument: &str) -> Result<FaultKind, String> {
    let (code, message) = argument.split_once(':').unwrap_or((argument, ""));
    let number = code.parse().map_err(|_| {
        format!("grpc-status needs a number, for example grpc-status:14, not `{code}`")
    })?;
    Ok(FaultKind::GrpcStatus { code: number, message: message.to_owned(), pushback: None })
}

fn parse_code(name: &str, code: Option<&str>, default: u32) -> Result<u32, String> {
    code.map_or(Ok(default), |code| {
        code.parse().map_err(|_| format!("{name} takes a number, not `{code}`"))
    })
}

fn parse_oversize(argument: &str) -> Result<FaultKind, String> {
    argument.parse().ok().filter(|&bytes| bytes <= MOST_BYTES).map(FaultKind::Oversize).ok_or_else(
        || format!("oversize needs a number of bytes up to {MOST_BYTES}, not `{argument}`"),
    )
}

fn parse_bomb(argument: &str) -> Result<FaultKind, String> {
    argument
        .parse()
        .ok()
        .filter(|&bytes| bytes <= MOST_BOMB)
        .map(FaultKind::Bomb)
        .ok_or_else(|| format!("bomb needs a number of bytes up to {MOST_BOMB}, not `{argument}`"))
}

fn parse_subprotocol(argument: &str) -> Result<FaultKind, String> {
    if argument.is_empty() || HeaderValue::from_str(argument).is_err() {
        let shown = argument.escape_debug();
        return Err(format!("subprotocol `{shown}` cannot be sent in a header"));
    }
    Ok(FaultKind::Subprotocol(argument.to_owned()))
}

fn parse_alpn(name: &str) -> Result<FaultKind, String> {
    // Its length is sent in one byte.
    if name.is_empty() || name.len() > 255 {
        return Err("alpn takes a name of 1 to 255 bytes, for example alpn:h2".into());
    }
    Ok(FaultKind::Alpn(Some(name.to_owned())))
}

fn parse_version(version: &str) -> Result<FaultKind, String> {
    match version {
        "1.1" => Ok(FaultKind::OnlyTls(1)),
        "1.2" => Ok(FaultKind::OnlyTls(2)),
        "1.3" => Ok(FaultKind::OnlyTls(3)),
        _ => Err(format!("only-tls needs 1.1, 1.2 or 1.3, not `{version}`")),
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    let number = |text: &str| {
        text.parse()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| format!("`{text}` is no whole number from 1 on"))
    };
    if let Some(percent) = text.strip_suffix('%') {
        return percent
            .parse()
            .ok()
            .filter(|p| (0.0..=100.0).contains(p))
            .map(When::Percent)
            .ok_or_else(|| format!("`{text}` is no probability from 0% to 100%"));
    }
    if let Some(every) = text.strip_prefix('/') {
        return number(every).map(When::Every);
    }
    match text.split_once('-') {
        Some((first, "")) => {
            let first = number(first)?;
            let last = first.saturating_add(2);
            Err(format!("after `-` a number is missing; write {first}-{last}"))
        }
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(When::Range(first, last)),
            _ => Err(format!("`{text}` ends before it begins")),
        },
        None if text.is_empty() => Err("nothing follows the `@`; write N, N-M, /N or P%".into()),
        None => number(text).map(|n| When::Range(n, n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_shown_as_it_was_written() {
        for spec in [
            "refuse@1",
            "reset-before@2-5",
            "reset-after@20%,seed=7",
            "reset-mid@/3",
            "stall@0.5%",
            "status:503@1",
            "status:503:1@/2,seed=0,path=/status",
            "status:429:Wed, 21 Oct 2015 07:28:00 GMT@1",
            "redirect:307:https://user@host:1/a,b?c=d@1-3,path=/status",
            "redirect:301:/@1,on=upgrade",
            "early:413@1",
            "hang-up@/20",
            "gzip@3%,seed=1",
            "slow:0.25@100%",
            "malformed@7,path=/openapi.json",
            "drop@1",
            "close:1012@/50",
            "close:1011:at: {'h:1', @x}@1",
            "half-open@3",
            "ping-flood@/9",
            "twice@1",
            "reorder@1",
            "unknown-id@1",
            "truncated@1",
            "wrong-type@1",
            "oversize:1000@1",
            "bomb:10000000000@1",
            "status:503:1@1,on=upgrade",
            "subprotocol:other@1,seed=1,path=/dry_run,on=upgrade",
            "grpc-status:14@1",
            "grpc-status:99:at: {'h:1', @x}@1,seed=1,pushback=-1",
            "reset-stream:8@/5",
            "goaway:0@1",
            "goaway-after:11@/50",
            "half-close@2",
            "drop@1,path=/jina.JinaInfoRPC/_status",
            "stall@1,on=handshake",
            "expired@/3,seed=1,on=handshake",
            "self-signed@1,on=handshake",
            "alpn@1,on=handshake",
            "alpn:h2@1,on=handshake",
            "only-tls:1.1@1,on=handshake",
        ] {
            let fault: Fault = spec.parse().unwrap();
            assert_eq!(fault.to_string(), spec);
        }
    }

    #[test]
    fn the_examples_of_the_help_are_faults() {
        let examples = FAULT_HELP.split("Examples\n").nth(1).unwrap();
        let specs: Vec<_> =
            examples.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(specs.len(), 10);
        for spec in specs {
            spec.parse::<Fault>().unwrap();
        }
    }

    #[test]
    fn a_bad_fault_is_named_with_its_wrong_part() {
        for (spec, expected) in [
            ("", "no `@WHEN`"),
            ("stall", "no `@WHEN`"),
            ("explode@1", "unknown kind `explode`; kinds are refuse, reset-before"),
            ("stall:1@1", "stall takes no argument"),
            ("status@1", "status needs a code"),
            ("status:99@1", "`99` is no number from 200 to 599"),
            ("status:503:@1", "Retry-After"),
            ("redirect@1", "redirect needs 301"),
            ("redirect:300:/@1", "not `300:/`"),
            ("redirect:307@1", "Location ``"),
            ("redirect:307:a\nb@1", "Location `a\\nb` cannot"),
            ("early@1", "early needs a code"),
            ("early:99@1", "not `99`"),
            ("hang-up@1,on=upgrade", "does not strike upgrades"),
            ("slow@1", "slow needs seconds"),
            ("slow:-1@1", "not `-1`"),
            ("slow:NaN@1", "not `NaN`"),
            ("stall@", "nothing follows the `@`"),
            ("stall@0", "`0` is no whole number from 1 on"),
            ("stall@/0", "`0` is no whole number from 1 on"),
            ("stall@5-2", "ends before it begins"),
            ("stall@1-", "after `-` a number is missing; write 1-3"),
            ("stall@101%", "no probability"),
            ("stall@NaN%", "no probability"),
            ("stall@1,sed=1", "`sed=1` is none of"),
            ("stall@1,seed=x", "seed `x`"),
            ("stall@1,seed=1,seed=2", "seed is given twice"),
            ("stall@1,path=status", "does not start with /"),
            ("refuse@1,path=/status", "connections"),
            ("drop:1@1", "drop takes no argument"),
            ("drop@1,path=/status", "have no such path"),
            ("ping-flood@1,on=upgrade", "does not strike upgrades"),
            ("ping-flood@1,path=/status", "have no such path"),
            ("goaway@1,path=/status", "whose paths are /SERVICE/METHOD"),
            ("close:1000@1,path=/jina.JinaInfoRPC/_status", "does not strike gRPC"),
            ("grpc-status@1", "grpc-status needs a number"),
            ("grpc-status:UNAVAILABLE@1", "not `UNAVAILABLE`"),
            ("goaway:x@1", "goaway takes a number, not `x`"),
            ("stall@1,pushback=1", "stall has no pushback"),
            ("grpc-status:14@1,pushback=", "cannot be sent in trailers"),
            ("grpc-status:14@1,pushback=1,pushback=2", "given twice"),
            ("twice@1,on=upgrade", "twice does not strike upgrades"),
            ("drop@1,on=upgrade,on=upgrade", "on is given twice"),
            ("drop@1,on=upgrade,on=handshake", "on is given twice"),
            ("stall@1,on=request", "is none of"),
            ("expired@1", "strikes handshakes only; add on=handshake"),
            ("expired@1,on=upgrade", "does not strike upgrades"),
            ("status:503@1,on=handshake", "does not strike handshakes"),
            ("refuse@1,on=handshake", "does not strike handshakes"),
            ("stall@1,path=/,on=handshake", "handshakes have no path"),
            ("alpn:@1,on=handshake", "1 to 255 bytes"),
            ("only-tls:1.0@1,on=handshake", "1.1, 1.2 or 1.3, not `1.0`"),
            ("subprotocol:x@1", "add on=upgrade"),
            ("subprotocol@1,on=upgrade", "cannot be sent"),
            ("close@1", "close needs a code"),
            ("close:70000@1", "not `70000`"),
            ("oversize:-1@1", "not `-1`"),
            ("bomb@1", "bomb needs a number of bytes"),
            ("bomb:99999999999999@1", "up to 68719476736"),
            ("oversize:2000000000@1", "up to 1073741824"),
        ] {
            let error = spec.parse::<Fault>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("fault `{spec}`: ")), "{error}");
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
