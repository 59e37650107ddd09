//! A search for the JSON that takes the most memory for its length.

use bytes::Bytes;

type Keys = &'static [&'static str];

/// The building blocks of the JSON.
#[derive(Clone, Copy)]
struct Grammar {
    /// The places for the parts: `@` for a list of parts, `#` for entries with numbered keys.
    around: Keys,
    keys: Keys,
}

/// A hill climb from a random starting point. A change is kept if it takes at least as much memory.
pub(crate) struct Climb {
    grammar: Grammar,
    best: Sentence,
    most: usize,
    next: Sentence,
}

impl Climb {
    /// Begins a climb. `around` are the places for the parts: `@` for a list of parts, `#` for
    /// entries with numbered keys. `keys` are the names of fields.
    pub(crate) fn new(around: Keys, keys: Keys, random: &mut fastrand::Rng) -> Climb {
        let grammar = Grammar { around, keys };
        let best = Sentence::any(grammar, random);
        Climb { grammar, next: best.clone(), best, most: 0 }
    }

    /// Returns the next bytes to measure.
    pub(crate) fn bytes(&self) -> Bytes {
        self.next.bytes()
    }

    /// Keeps the last change if it came at least as near to the limit, and draws the next one.
    pub(crate) fn measured(&mut self, nearness: usize, random: &mut fastrand::Rng) {
        if nearness >= self.most {
            self.best = self.next.clone();
            self.most = nearness;
        }
        self.next = self.best.changed(self.grammar, random);
    }
}

/// An answer in which one part is repeated: many small parts take the most memory for their size.
#[derive(Clone)]
struct Sentence {
    around: &'static str,
    part: Json,
    /// A growing list takes the most memory just beyond a power of two.
    power: u32,
}

#[derive(Clone)]
enum Json {
    Leaf(&'static str),
    List(Vec<Json>),
    Map(Vec<(&'static str, Json)>),
}

const LEAVES: [&str; 8] = ["0", "\"\"", "null", "true", "1.5", "\"a\"", "{}", "[]"];

impl Sentence {
    fn any(grammar: Grammar, random: &mut fastrand::Rng) -> Sentence {
        Sentence {
            around: random.choice(grammar.around).unwrap(),
            part: Json::any(grammar.keys, random, 3),
            power: random.u32(6..13),
        }
    }

    fn changed(&self, grammar: Grammar, random: &mut fastrand::Rng) -> Sentence {
        let mut next = self.clone();
        match random.u8(..8) {
            0 => next.around = random.choice(grammar.around).unwrap(),
            1 => next.power = random.u32(6..13),
            _ => next.part.change(grammar.keys, random, 3),
        }
        next
    }

    fn bytes(&self) -> Bytes {
        let part = self.part.text();
        let count = ((1_usize << self.power) + 1).min(1 + (48 << 10) / (part.len() + 1));
        let list = || vec![&*part; count].join(",");
        let map = || (0..count).map(|n| format!("\"{n:x}\":{part}")).collect::<Vec<_>>().join(",");
        let around = self.around;
        match around.contains('#') {
            true => around.replace('#', &map()).into(),
            false => around.replace('@', &list()).into(),
        }
    }
}

impl Json {
    fn any(keys: Keys, random: &mut fastrand::Rng, depth: usize) -> Json {
        let few = if depth == 0 { 0 } else { random.usize(..3) };
        match random.u8(..3) {
            0 if few > 0 => {
                Json::List((0..few).map(|_| Json::any(keys, random, depth - 1)).collect())
            }
            1 if few > 0 => {
                let entry = |random: &mut fastrand::Rng| {
                    let key: &'static str = random.choice(keys).unwrap();
                    (key, Json::any(keys, random, depth - 1))
                };
                Json::Map((0..few).map(|_| entry(random)).collect())
            }
            _ => Json::Leaf(random.choice(LEAVES).unwrap()),
        }
    }

    /// Changes something in this part or below it.
    fn change(&mut self, keys: Keys, random: &mut fastrand::Rng, depth: usize) {
        let below = depth.saturating_sub(1);
        match self {
            Json::List(list) if !list.is_empty() && random.bool() => {
                let at = random.usize(..list.len());
                list[at].change(keys, random, below);
            }
            Json::Map(map) if !map.is_empty() && random.bool() => {
                let at = random.usize(..map.len());
                match random.bool() {
                    true => map[at].1.change(keys, random, below),
                    false => map[at].0 = random.choice(keys).unwrap(),
                }
            }
            Json::List(list) if random.bool() => list.push(Json::any(keys, random, below)),
            whole => *whole = Json::any(keys, random, depth),
        }
    }

    fn text(&self) -> String {
        match self {
            Json::Leaf(text) => (*text).to_owned(),
            Json::List(list) => {
                format!("[{}]", list.iter().map(Json::text).collect::<Vec<_>>().join(","))
            }
            Json::Map(map) => {
                let entry = |(key, value): &(&str, Json)| format!("\"{key}\":{}", value.text());
                format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(","))
            }
        }
    }
}
