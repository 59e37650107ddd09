//! The spread of numbers that were measured several times.

use serde_json::{Value, json};

/// The minimum, the median and the maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of these values. The median of an even number of values is the mean of the two in the
    /// middle.
    ///
    /// # Panics
    /// If there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "a spread needs one value at least");
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Spread { min: values[0], median, max: values[values.len() - 1] }
    }

    pub(crate) fn to_json(self) -> Value {
        json!({"min": self.min, "median": self.median, "max": self.max})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_value_or_between_the_two() {
        let cases: [(&[f64], f64, f64, f64); 4] = [
            (&[3.0], 3.0, 3.0, 3.0),
            (&[9.0, 1.0, 2.0], 1.0, 2.0, 9.0),
            (&[4.0, 1.0, 2.0, 9.0], 1.0, 3.0, 9.0),
            (&[1.0, 1.0, 1.0, 1000.0, 1.0], 1.0, 1.0, 1000.0),
        ];
        for (values, min, median, max) in cases {
            let spread = Spread::of(values.iter().copied());
            assert_eq!(spread, Spread { min, median, max }, "{values:?}");
        }
    }

    #[test]
    #[should_panic(expected = "one value at least")]
    fn nothing_has_no_spread() {
        Spread::of([]);
    }
}
