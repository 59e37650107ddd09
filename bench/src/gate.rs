//! Limits, and whether measurements keep to them.

use serde_json::{Value, json};

/// The maximum number of measurements if other work on the machine may have disturbed one.
const ATTEMPTS: usize = 3;

/// A measured number and its limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gate {
    /// What was measured.
    pub(crate) name: String,
    pub(crate) bound: Bound,
    pub(crate) limit: f64,
    /// The unit of the limit and the numbers.
    pub(crate) unit: &'static str,
    /// One number for each attempt. The last number counts.
    pub(crate) measured: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    AtMost,
    Below,
    AtLeast,
}

/// Measures until the value is good, at most [`ATTEMPTS`] times. Other work on the machine has ended
/// by then, while a slower program stays slow. The last value counts.
pub(crate) fn attempt<T, E>(
    mut measure: impl FnMut() -> Result<T, E>,
    is_good: impl Fn(&T) -> bool,
) -> Result<Vec<T>, E> {
    let mut attempts = Vec::with_capacity(1);
    while attempts.len() < ATTEMPTS && !attempts.last().is_some_and(&is_good) {
        attempts.push(measure()?);
    }
    Ok(attempts)
}

impl Bound {
    pub(crate) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Bound::AtMost => value <= limit,
            Bound::Below => value < limit,
            Bound::AtLeast => value >= limit,
        }
    }
}

impl Gate {
    pub(crate) fn is_passed(&self) -> bool {
        self.measured.last().is_some_and(|value| self.bound.holds(*value, self.limit))
    }

    /// A line with the verdict, the numbers and the limit.
    pub(crate) fn to_text(&self) -> String {
        let Gate { name, limit, unit, measured, .. } = self;
        let verdict = if self.is_passed() { "passed" } else { "FAILED" };
        let bound = match self.bound {
            Bound::AtMost => "at most",
            Bound::Below => "below",
            Bound::AtLeast => "at least",
        };
        let show = |value: &f64| format!("{value:.3}{unit}");
        let measured: Vec<String> = measured.iter().map(show).collect();
        let again = match measured.len() {
            0 | 1 => String::new(),
            times => format!(", measured {times} times"),
        };
        let measured = measured.join(", ");
        format!("{verdict}  {name}: {measured} (to be {bound} {limit}{unit}{again})\n")
    }

    fn to_json(&self) -> Value {
        let Gate { name, limit, measured, .. } = self;
        json!({"name": name, "limit": limit, "measured": measured, "passed": self.is_passed()})
    }
}

pub(crate) fn to_text(gates: &[Gate]) -> String {
    gates.iter().map(Gate::to_text).collect()
}

pub(crate) fn to_json(gates: &[Gate]) -> Value {
    gates.iter().map(Gate::to_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(bound: Bound, measured: &[f64]) -> Gate {
        let name = "start".to_owned();
        Gate { name, bound, limit: 20.0, unit: " ms", measured: measured.to_vec() }
    }

    #[test]
    fn number_equal_to_the_limit_is_at_most_it_but_not_below() {
        assert!(gate(Bound::AtMost, &[20.0]).is_passed());
        assert!(!gate(Bound::Below, &[20.0]).is_passed());
        assert!(gate(Bound::Below, &[19.999]).is_passed());
        assert!(!gate(Bound::AtMost, &[20.001]).is_passed());
        assert!(gate(Bound::AtLeast, &[20.0]).is_passed());
        assert!(!gate(Bound::AtLeast, &[19.999]).is_passed());
        assert!(!gate(Bound::AtMost, &[f64::NAN]).is_passed());
        assert!(!gate(Bound::AtMost, &[]).is_passed());
    }

    #[test]
    fn line_says_verdict_numbers_limit_and_attempts() {
        assert_eq!(
            gate(Bound::Below, &[3.25]).to_text(),
            "passed  start: 3.250 ms (to be below 20 ms)\n",
        );
        assert_eq!(
            gate(Bound::AtMost, &[21.0, 22.0, 20.5]).to_text(),
            "FAILED  start: 21.000 ms, 22.000 ms, 20.500 ms (to be at most 20 ms, measured 3 times)\n",
        );
    }

    #[test]
    fn bad_values_are_measured_again_until_a_good_one_three_times_at_most() {
        for (values, expected) in
            [([1, 9, 9, 9], &[1][..]), ([9, 1, 9, 9], &[9, 1]), ([9, 8, 7, 1], &[9, 8, 7])]
        {
            let mut values = values.into_iter();
            let measured = attempt(|| values.next().ok_or("no more"), |value| *value < 5);
            assert_eq!(measured.unwrap(), expected);
        }
        assert_eq!(attempt(|| Err::<i32, _>("broken"), |_| true), Err("broken"));
    }
}
