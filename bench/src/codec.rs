//! Compares the protobuf codec with prost's own types for the same messages.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;

use bytes::Bytes;
use clientlet::clientlets::DataRequest;
use clientlet::{DocArray, Response, Tensor};
use clientlet_proto::prost::Message;
use clientlet_proto::{v1, v2};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cpu::Stopwatch;
use crate::documents::Document;
use crate::gate::{self, Bound, Gate};
use crate::statistics::Spread;

const DOCUMENTS: usize = 100;
const ENDPOINT: &str = "/";
/// The limit of the codec's time to decode, as a multiple of the time of prost's types.
const LIMIT_DECODE: f64 = 1.4;

/// The options of this benchmark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Messages in a measurement.
    pub(crate) messages: usize,
    pub(crate) rounds: usize,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { messages: 2000, rounds: 15, check: false, json: false }
    }
}

/// A document as a search would return it.
#[derive(Deserialize)]
struct Embedded {
    #[expect(dead_code, reason = "it is there to be decoded")]
    id: String,
    #[expect(dead_code, reason = "it is there to be decoded")]
    text: String,
    embedding: Tensor,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    docarray: DocArray,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// From a message to documents of the user's type.
    Decode,
    /// From documents, or from prost's tree of the documents, to a message.
    Encode,
}

const CASES: [Case; 4] = [
    Case { docarray: DocArray::V1, work: Work::Decode },
    Case { docarray: DocArray::V2, work: Work::Decode },
    Case { docarray: DocArray::V1, work: Work::Encode },
    Case { docarray: DocArray::V2, work: Work::Encode },
];

/// The CPU time for a message, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Round {
    ours: f64,
    prost: f64,
}

#[derive(Debug)]
pub(crate) struct Report {
    /// The attempts of each case. The last attempt counts.
    cases: Vec<(Case, Vec<Vec<Round>>)>,
}

pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let measure = |case: Case| {
        let compare = || compare(case, options);
        let is_good = |rounds: &Vec<Round>| {
            let limit = case.work.limit().filter(|_| options.check);
            limit.is_none_or(|limit| Bound::AtMost.holds(ratio(rounds).median, limit))
        };
        Ok((case, gate::attempt(compare, is_good)?))
    };
    let cases: Result<_, Box<dyn Error>> = CASES.into_iter().map(measure).collect();
    Ok(Report { cases: cases? })
}

fn compare(case: Case, options: &Options) -> Result<Vec<Round>, Box<dyn Error>> {
    let documents: Vec<Document> = (0..DOCUMENTS).map(Document::embedded).collect();
    let message = DataRequest::proto(case.docarray, ENDPOINT).documents(&documents)?.to_bytes();
    let time = |work: &dyn Fn() -> Result<(), Box<dyn Error>>| -> Result<f64, Box<dyn Error>> {
        let stopwatch = Stopwatch::start()?;
        for _ in 0..options.messages {
            work()?;
        }
        Ok(stopwatch.stop()?.cpu.as_secs_f64() * 1e6 / options.messages as f64)
    };
    let mut rounds = Vec::with_capacity(options.rounds);
    // The first round allocates the memory and does not count.
    for _ in 0..=options.rounds {
        let ours = time(&|| ours(case, &documents, &message))?;
        let prost = match (case.docarray, case.work) {
            (DocArray::V1, Work::Decode) => {
                time(&|| decode::<v1::jina::DataRequestProto>(&message))?
            }
            (DocArray::V2, Work::Decode) => {
                time(&|| decode::<v2::jina::DataRequestProto>(&message))?
            }
            (DocArray::V1, Work::Encode) => {
                let tree = v1::jina::DataRequestProto::decode(message.clone())?;
                time(&|| encode(&tree))?
            }
            (DocArray::V2, Work::Encode) => {
                let tree = v2::jina::DataRequestProto::decode(message.clone())?;
                time(&|| encode(&tree))?
            }
        };
        rounds.push(Round { ours, prost });
    }
    rounds.remove(0);
    Ok(rounds)
}

fn ours(case: Case, documents: &[Document], message: &Bytes) -> Result<(), Box<dyn Error>> {
    match case.work {
        Work::Decode => {
            let response = Response::from_proto(case.docarray, message)?;
            let documents: Vec<Embedded> = response.documents()?;
            black_box(documents.first().map(|document| document.embedding.shape().len()));
            black_box(documents);
        }
        Work::Encode => {
            let request = DataRequest::proto(case.docarray, ENDPOINT).documents(documents)?;
            black_box(request.to_bytes());
        }
    }
    Ok(())
}

fn decode<M: Message + Default>(message: &Bytes) -> Result<(), Box<dyn Error>> {
    black_box(M::decode(message.clone())?);
    Ok(())
}

fn encode<M: Message>(tree: &M) -> Result<(), Box<dyn Error>> {
    black_box(Bytes::from(black_box(tree).encode_to_vec()));
    Ok(())
}

fn ratio(rounds: &[Round]) -> Spread {
    Spread::of(rounds.iter().map(|round| round.ours / round.prost))
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Decode => "decode",
            Work::Encode => "encode",
        }
    }

    /// The limit of the ratio. Encoding has none: here prost gets its tree for free, but a user would
    /// have to build it.
    fn limit(self) -> Option<f64> {
        match self {
            Work::Decode => Some(LIMIT_DECODE),
            Work::Encode => None,
        }
    }
}

impl Case {
    fn name(self) -> String {
        format!("{} {}", self.work.name(), self.docarray)
    }
}

impl Report {
    /// The rounds of each case's last attempt.
    fn last(&self) -> impl Iterator<Item = (Case, &Vec<Round>)> {
        self.cases.iter().filter_map(|(case, attempts)| Some((*case, attempts.last()?)))
    }

    pub(crate) fn gates(&self) -> Vec<Gate> {
        let gate = |(case, attempts): &(Case, Vec<Vec<Round>>)| {
            Some(Gate {
                name: format!("CPU beside prost's, {}", case.name()),
                bound: Bound::AtMost,
                limit: case.work.limit()?,
                unit: "",
                measured: attempts.iter().map(|rounds| ratio(rounds).median).collect(),
            })
        };
        self.cases.iter().filter_map(gate).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let rounds = self.last().next().map_or(0, |(_, rounds)| rounds.len());
        let mut text = format!(
            "codec: {DOCUMENTS} documents with a text and 768 floats, medians of {rounds} rounds\n\n\
             {:<10}  ours us   prost us   ratio  (min - max)\n",
            ""
        );
        for (case, rounds) in self.last() {
            let median = |who: fn(&Round) -> f64| Spread::of(rounds.iter().map(who)).median;
            let Spread { min, median: middle, max } = ratio(rounds);
            writeln!(
                text,
                "{:<10}  {:>7.1}   {:>8.1}   {middle:.3}  ({min:.3} - {max:.3})",
                case.name(),
                median(|round| round.ours),
                median(|round| round.prost),
            )
            .expect("writing to a string cannot fail");
        }
        text.push_str(
            "\nCPU time for a message. prost's types hold bytes as `Bytes` and text as strings. For\n\
             encoding, prost gets its tree of messages for free.\n",
        );
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let case = |(case, rounds): (Case, &Vec<Round>)| {
            json!({
                "work": case.work.name(),
                "docarray": case.docarray.to_string(),
                "ours_us": Spread::of(rounds.iter().map(|round| round.ours)).to_json(),
                "prost_us": Spread::of(rounds.iter().map(|round| round.prost)).to_json(),
                "ratio": ratio(rounds).to_json(),
            })
        };
        let cases: Vec<Value> = self.last().map(case).collect();
        json!({"benchmark": "codec", "documents": DOCUMENTS, "cases": cases})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_measured_and_decoding_has_a_limit() {
        let options = Options { messages: 2, rounds: 2, check: false, json: false };
        let report = run(&options).unwrap();
        assert_eq!(report.last().count(), 4);
        assert_eq!(report.gates().len(), 2);
        assert!(report.to_text().contains("encode v2"), "{}", report.to_text());
        assert_eq!(report.to_json()["cases"][1]["docarray"], "v2");
    }
}
