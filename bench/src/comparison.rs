//! Three contestants that are measured in turns.

use crate::cpu::Cost;
use crate::statistics::Spread;

/// The cost of each contestant in one round, for the same number of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) bare: Cost,
    pub(crate) codec: Cost,
    pub(crate) client: Cost,
}

/// All rounds with requests of one size.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// What the requests hold and how they are sent.
    pub(crate) name: String,
    /// The number of documents in a request.
    pub(crate) documents: usize,
    /// The number of requests in a round.
    pub(crate) requests: usize,
    pub(crate) rounds: Vec<Round>,
}

impl Round {
    /// The client's CPU time, divided by the CPU time of the parts that the client needs.
    fn ratio(&self) -> f64 {
        self.client.cpu.div_duration_f64(self.bare.cpu + self.codec.cpu)
    }
}

impl Comparison {
    /// c / (a + b) of each round: a disturbance within a round affects both sides of its ratio.
    pub(crate) fn ratio(&self) -> Spread {
        Spread::of(self.rounds.iter().map(Round::ratio))
    }

    /// Microseconds of CPU time for each request.
    pub(crate) fn cpu(&self, who: impl Fn(&Round) -> Cost) -> Spread {
        let requests = self.requests as f64;
        Spread::of(self.rounds.iter().map(|round| who(round).cpu.as_secs_f64() * 1e6 / requests))
    }

    /// Requests for each second of the clock.
    pub(crate) fn rate(&self, who: impl Fn(&Round) -> Cost) -> Spread {
        let requests = self.requests as f64;
        Spread::of(self.rounds.iter().map(|round| requests / who(round).wall.as_secs_f64()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    fn cost(cpu: u64) -> Cost {
        Cost { wall: Duration::from_micros(2 * cpu), cpu: Duration::from_micros(cpu) }
    }

    fn round([bare, codec, client]: [u64; 3]) -> Round {
        Round { bare: cost(bare), codec: cost(codec), client: cost(client) }
    }

    pub(crate) fn comparison(documents: usize) -> Comparison {
        // In the second round the machine is ten times as slow.
        let rounds = [[800, 200, 1200], [8000, 2000, 13_000], [700, 300, 1100]].map(round);
        let name = format!("texts: {documents}");
        Comparison { name, documents, requests: 10, rounds: rounds.to_vec() }
    }

    #[test]
    fn ratio_is_taken_within_a_round() {
        let ratio = comparison(1).ratio();
        assert_eq!([ratio.min, ratio.median, ratio.max], [1.1, 1.2, 1.3]);
    }

    #[test]
    fn costs_are_those_of_one_request() {
        let comparison = comparison(1);
        let cpu = comparison.cpu(|round| round.codec);
        assert_eq!([cpu.min, cpu.median, cpu.max], [20.0, 30.0, 200.0]);
        // 10 requests in 1.6 ms.
        assert!((comparison.rate(|round| round.bare).median - 6250.0).abs() < 1e-6);
    }
}
