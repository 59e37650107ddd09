//! Scripted faults: their grammar, and which requests they strike.
//!
//! Everything here is pure. A fault by probability decides from the seed, its place in the list
//! and the request's number alone, never from a shared generator, so that the same numbers fail
//! however the requests interleave.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;

/// The grammar of a fault with examples, for a command's `--help`.
pub const FAULT_HELP: &str = "\
A fault is KIND[:ARG]@WHEN[,seed=N][,path=/PATH]; of several, the first that matches strikes.

KIND
  refuse              reset the connection as soon as it is accepted (WHEN counts connections)
  reset-before        reset when the request begins to arrive; it is never read
  reset-after         read the request whole, run nothing, reset
  reset-mid           run it, send half of the answer, reset
  stall               read the request and never answer
  status:CODE[:RETRY] answer CODE at once, with a Retry-After header of RETRY if given
  slow:SECONDS        send the answer's head at once, its body in pieces over SECONDS
  malformed           answer 200 with JSON that breaks off in the middle

WHEN
  N                   the Nth request, counted from 1
  N-M                 the Nth to the Mth
  /N                  every Nth
  P%                  each with this probability; the same ones for the same seed

Requests are those that carry data (POST, PUT, DELETE). With path=/PATH the fault strikes, and
counts, GETs of that path instead.

Examples
  reset-after@20%,seed=7      a fifth of the requests are read and lost
  status:503:1@1-3            the first three are told to come back in a second
  stall@/100                  every hundredth is never answered
  status:500@1,path=/status   the first GET /status fails
";

/// What a fault does to a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection is reset as soon as it is accepted.
    Refuse,
    /// The connection is reset when the request begins to arrive, before it is read.
    ResetBefore,
    /// The connection is reset after the whole request was read; its endpoint does not run.
    ResetAfter,
    /// The endpoint runs, half of the answer is sent, then the connection is reset.
    ResetMid,
    /// The request is read and never answered; the connection stays open.
    Stall,
    /// This status is answered at once; the endpoint does not run.
    Status {
        /// The status code, 200 to 599.
        code: u16,
        /// The value of the `Retry-After` header, as it stands.
        retry_after: Option<String>,
    },
    /// The answer's head is sent at once, its body in pieces spread over this time.
    Slow(Duration),
    /// The answer is a 200 whose JSON breaks off in the middle.
    Malformed,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::ResetBefore => f.write_str("reset-before"),
            Self::ResetAfter => f.write_str("reset-after"),
            Self::ResetMid => f.write_str("reset-mid"),
            Self::Stall => f.write_str("stall"),
            Self::Status { code, retry_after: None } => write!(f, "status:{code}"),
            Self::Status { code, retry_after: Some(after) } => write!(f, "status:{code}:{after}"),
            Self::Slow(time) => write!(f, "slow:{}", time.as_secs_f64()),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}

/// Which of the counted requests a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Range(u64, u64),
    Every(u64),
    Percent(f64),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Every(n) => write!(f, "/{n}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// One scripted fault: what happens, and to which requests. Parse it from text; [`FAULT_HELP`]
/// is the grammar.
///
/// ```
/// use clientlet_gateway::{Fault, FaultKind};
///
/// let fault: Fault = "status:503:1@1-3".parse()?;
/// assert_eq!(fault.kind(), &FaultKind::Status { code: 503, retry_after: Some("1".into()) });
/// assert_eq!(fault.to_string(), "status:503:1@1-3");
/// # Ok::<(), clientlet_gateway::FaultError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    when: When,
    seed: Option<u64>,
    path: Option<String>,
}

impl Fault {
    /// What happens.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// The path whose GETs are struck, if the fault is not for requests that carry data.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Whether the fault, standing at `index` in its list, strikes the request of this number.
    pub(crate) fn strikes(&self, index: usize, number: u64, default_seed: u64) -> bool {
        match self.when {
            When::Range(first, last) => (first..=last).contains(&number),
            When::Every(n) => number.is_multiple_of(n),
            When::Percent(percent) => {
                let seed = self.seed.unwrap_or(default_seed);
                let place = scramble(seed ^ scramble(index as u64));
                let draw = scramble(place ^ scramble(number));
                // The upper 53 bits fill a double's mantissa evenly in [0, 1).
                ((draw >> 11) as f64 / (1u64 << 53) as f64) < percent / 100.0
            }
        }
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the result depends on
/// every bit of the argument.
pub(crate) fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind, self.when)?;
        if let Some(seed) = self.seed {
            write!(f, ",seed={seed}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ",path={path}")?;
        }
        Ok(())
    }
}

/// Why a text is no fault: one line that names the fault and the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FaultError {}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(spec: &str) -> Result<Self, FaultError> {
        parse(spec).map_err(|reason| FaultError(format!("fault `{spec}`: {reason}")))
    }
}

fn parse(spec: &str) -> Result<Fault, String> {
    // The last `@`, because the text of a Retry-After may hold anything.
    let (kind, rest) = spec
        .rsplit_once('@')
        .ok_or("it has no `@WHEN`; write KIND[:ARG]@WHEN, for example reset-after@20%")?;
    let kind = parse_kind(kind)?;
    let mut parts = rest.split(',');
    let when = parse_when(parts.next().unwrap_or_default())?;
    let mut fault = Fault { kind, when, seed: None, path: None };
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
            Some((name @ ("seed" | "path"), _)) => return Err(format!("{name} is given twice")),
            _ => return Err(format!("`{part}` is neither seed=N nor path=/PATH")),
        }
    }
    if fault.kind == FaultKind::Refuse && fault.path.is_some() {
        return Err("refuse strikes connections, which have no path".into());
    }
    Ok(fault)
}

fn parse_kind(text: &str) -> Result<FaultKind, String> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    match (name, argument) {
        ("status", Some(argument)) => return parse_status(argument),
        ("status", None) => return Err("status needs a code, for example status:503".into()),
        ("slow", argument) => return parse_slow(argument.unwrap_or_default()),
        _ => {}
    }
    let kind = match name {
        "refuse" => FaultKind::Refuse,
        "reset-before" => FaultKind::ResetBefore,
        "reset-after" => FaultKind::ResetAfter,
        "reset-mid" => FaultKind::ResetMid,
        "stall" => FaultKind::Stall,
        "malformed" => FaultKind::Malformed,
        _ => {
            return Err(format!(
                "unknown kind `{name}`; kinds are refuse, reset-before, reset-after, reset-mid, \
                 stall, status:CODE, slow:SECONDS, malformed"
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

fn parse_slow(argument: &str) -> Result<FaultKind, String> {
    argument
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(FaultKind::Slow)
        .ok_or_else(|| format!("slow needs seconds, for example slow:0.5, not `{argument}`"))
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
            "slow:0.25@100%",
            "malformed@7,path=/openapi.json",
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
        assert_eq!(specs.len(), 4);
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
            ("slow@1", "slow needs seconds"),
            ("slow:-1@1", "not `-1`"),
            ("slow:NaN@1", "not `NaN`"),
            ("stall@", "nothing follows the `@`"),
            ("stall@0", "`0` is no whole number from 1 on"),
            ("stall@/0", "`0` is no whole number from 1 on"),
            ("stall@5-2", "ends before it begins"),
            ("stall@101%", "no probability"),
            ("stall@NaN%", "no probability"),
            ("stall@1,sed=1", "`sed=1` is neither"),
            ("stall@1,seed=x", "seed `x`"),
            ("stall@1,seed=1,seed=2", "seed is given twice"),
            ("stall@1,path=status", "does not start with /"),
            ("refuse@1,path=/status", "connections"),
        ] {
            let error = spec.parse::<Fault>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("fault `{spec}`: ")), "{error}");
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }

    #[test]
    fn numbers_ranges_and_every_nth_strike_what_they_say() {
        let struck = |spec: &str| {
            let fault: Fault = spec.parse().unwrap();
            (1..=10).filter(|&n| fault.strikes(0, n, 0)).collect::<Vec<u64>>()
        };
        assert_eq!(struck("stall@3"), [3]);
        assert_eq!(struck("stall@2-4"), [2, 3, 4]);
        assert_eq!(struck("stall@/4"), [4, 8]);
        assert_eq!(struck("stall@0%"), [0; 0]);
        assert_eq!(struck("stall@100%").len(), 10);
    }

    #[test]
    fn probability_is_met_and_depends_on_seed_and_place() {
        let fault: Fault = "stall@20%".parse().unwrap();
        let struck = |index, seed| {
            (1..=100_000).filter(|&n| fault.strikes(index, n, seed)).collect::<Vec<u64>>()
        };
        let first = struck(0, 1);
        // Five standard deviations of 100,000 draws at 20 %: 5 * sqrt(100000 * 0.2 * 0.8) = 632.
        assert!(first.len().abs_diff(20_000) < 632, "{}", first.len());
        assert_eq!(first, struck(0, 1));
        assert_ne!(first, struck(1, 1));
        assert_ne!(first, struck(0, 2));
        let named: Fault = "stall@20%,seed=1".parse().unwrap();
        assert!((1..=1000).all(|n| named.strikes(0, n, 99) == fault.strikes(0, n, 1)));
    }
}
