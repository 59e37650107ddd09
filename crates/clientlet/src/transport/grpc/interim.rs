//! Limits the interim answers (1xx) on the streams of a connection. h2 keeps them for a caller that asks
//! for them. hyper does not ask, so a server could fill the memory with them.

use rustc_hash::FxHashMap;

/// The maximum number of interim answers on a stream.
const MOST_INTERIM: u8 = 32;
/// The number of streams above which those are forgotten that began first. They are streams that the
/// client has ended, of which nothing came since.
const MOST_STREAMS: usize = 4096;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// The number of heads that have come on each open stream: interim answers and the answer.
#[derive(Debug, Default)]
pub(super) struct Interim(FxHashMap<u32, u8>);

impl Interim {
    /// Takes the head of a frame: its length in three bytes, its type, its flags and its stream. Returns
    /// whether the stream may go on.
    pub(super) fn may_go_on(&mut self, frame: [u8; 9]) -> bool {
        let [_, _, _, kind, flags, stream @ ..] = frame;
        let stream = u32::from_be_bytes(stream);
        match kind {
            HEADERS if flags & END_STREAM == 0 => {
                let heads = self.0.entry(stream).or_default();
                *heads = heads.saturating_add(1);
                let may_go_on = *heads <= MOST_INTERIM + 1;
                if self.0.len() > MOST_STREAMS {
                    let mut streams: Vec<_> = self.0.keys().copied().collect();
                    let (_, median, _) = streams.select_nth_unstable(MOST_STREAMS / 2);
                    let median = *median;
                    self.0.retain(|stream, _| *stream >= median);
                }
                may_go_on
            }
            DATA | HEADERS if flags & END_STREAM != 0 => {
                self.0.remove(&stream);
                true
            }
            RST_STREAM => {
                self.0.remove(&stream);
                true
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32) -> [u8; 9] {
        let [a, b, c, d] = stream.to_be_bytes();
        [0, 0, 1, kind, flags, a, b, c, d]
    }

    #[test]
    fn a_stream_has_a_bounded_number_of_interim_answers_whatever_comes_between() {
        let mut interim = Interim::default();
        for n in 0..=u32::from(MOST_INTERIM) {
            assert!(interim.may_go_on(frame(HEADERS, 4, 1)), "{n}");
            assert!(interim.may_go_on(frame(DATA, 0, 3)) && interim.may_go_on(frame(6, 0, 0)));
            assert!(interim.may_go_on(frame(HEADERS, 4, 5 + 2 * n)));
        }
        assert!(!interim.may_go_on(frame(HEADERS, 4, 1)));
    }

    #[test]
    fn streams_that_end_or_are_old_are_forgotten() {
        let mut interim = Interim::default();
        for stream in 0..100_000 {
            assert!(interim.may_go_on(frame(HEADERS, 4, stream)));
            match stream % 4 {
                0 => assert!(interim.may_go_on(frame(HEADERS, 5, stream))),
                1 => assert!(interim.may_go_on(frame(DATA, 1, stream))),
                2 => assert!(interim.may_go_on(frame(RST_STREAM, 0, stream))),
                _ => {}
            }
        }
        assert!(interim.0.len() <= MOST_STREAMS, "{}", interim.0.len());
        for ended in 0..3 {
            assert!(!interim.0.keys().any(|stream| stream % 4 == ended), "{ended}");
        }
    }
}
