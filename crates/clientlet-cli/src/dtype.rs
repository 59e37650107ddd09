//! The element types of tensors, by numpy's names, and the numbers that fit each type.

use std::fmt;
use std::str::FromStr;

use clientlet::Dtype;
use half::f16;
use serde_json::Value;

/// An element type, and how a number is written as this type.
#[derive(Clone, Copy)]
pub(crate) struct ElementType {
    pub(crate) name: &'static str,
    pub(crate) dtype: Dtype,
    /// Appends the number, little-endian. Returns `None` if the number does not fit.
    pub(crate) write: fn(&Value, &mut Vec<u8>) -> Option<()>,
}

macro_rules! whole {
    ($name:literal, $dtype:ident, $type:ty) => {
        ElementType {
            name: $name,
            dtype: Dtype::$dtype,
            write: |n, out| {
                let n = <$type>::try_from(whole(n)?).ok()?;
                out.extend_from_slice(&n.to_le_bytes());
                Some(())
            },
        }
    };
}

macro_rules! real {
    ($name:literal, $dtype:ident, $from:expr) => {
        ElementType {
            name: $name,
            dtype: Dtype::$dtype,
            write: |n, out| {
                let n = $from(n.as_f64()?);
                out.extend_from_slice(&n.to_le_bytes());
                n.is_finite().then_some(())
            },
        }
    };
}

const FLOAT64: ElementType = real!("float64", F64, |n: f64| n);

const ELEMENT_TYPES: [ElementType; 12] = [
    ElementType { name: "bool", dtype: Dtype::Bool, write: boolean },
    whole!("int8", I8, i8),
    whole!("int16", I16, i16),
    whole!("int32", I32, i32),
    whole!("int64", I64, i64),
    whole!("uint8", U8, u8),
    whole!("uint16", U16, u16),
    whole!("uint32", U32, u32),
    whole!("uint64", U64, u64),
    real!("float16", F16, f16::from_f64),
    real!("float32", F32, |n: f64| n as f32),
    FLOAT64,
];

impl Default for ElementType {
    fn default() -> ElementType {
        FLOAT64
    }
}

impl FromStr for ElementType {
    type Err = String;

    /// Reads numpy's name, `float32`, or its short form, `<f4` or `f4`.
    fn from_str(name: &str) -> Result<ElementType, String> {
        let is_named = |element: &&ElementType| {
            let short = element.dtype.name();
            name == element.name || name == short || name == &short[1..]
        };
        ELEMENT_TYPES.iter().find(is_named).copied().ok_or_else(|| {
            let known: Vec<_> = ELEMENT_TYPES.iter().map(|element| element.name).collect();
            format!("{name:?} is not an element type; the types are {}", known.join(", "))
        })
    }
}

impl fmt::Debug for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The number, if it is whole and fits into 64 bits.
fn whole(n: &Value) -> Option<i128> {
    let exact = n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    // Some programs write every number as a float, so 3.0 counts as 3.
    exact.or_else(|| n.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i128))
}

fn boolean(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let b = match value {
        Value::Bool(b) => u8::from(*b),
        n => u8::try_from(whole(n)?).ok().filter(|n| *n <= 1)?,
    };
    out.push(b);
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_type_is_known_by_its_name_and_its_short_forms() {
        for element in ELEMENT_TYPES {
            let short = element.dtype.name();
            for name in [element.name, short, &short[1..]] {
                assert_eq!(name.parse::<ElementType>().unwrap().dtype, element.dtype, "{name}");
            }
        }
        assert_eq!(ElementType::default().dtype, Dtype::F64);
    }

    #[test]
    fn a_number_fits_or_does_not() {
        let written = |name: &str, n: Value| {
            let mut out = Vec::new();
            let written = (name.parse::<ElementType>().unwrap().write)(&n, &mut out);
            written.map(|()| out)
        };
        for (name, fits, bytes) in [
            ("int8", json!(-128), &[0x80][..]),
            ("int8", json!(3.0), &[3]),
            ("uint16", json!(65535), &[0xff, 0xff]),
            ("int64", json!(i64::MIN), &i64::MIN.to_le_bytes()),
            ("uint64", json!(u64::MAX), &u64::MAX.to_le_bytes()),
            ("bool", json!(true), &[1]),
            ("bool", json!(0), &[0]),
            ("float16", json!(-2), &[0, 0xc0]),
            ("float32", json!(0.1), &0.1_f32.to_le_bytes()),
            ("float64", json!(0.1), &0.1_f64.to_le_bytes()),
            ("float64", json!(u64::MAX), &(u64::MAX as f64).to_le_bytes()),
        ] {
            assert_eq!(written(name, fits.clone()).as_deref(), Some(bytes), "{name} {fits}");
        }
        for (name, wrong) in [
            ("int8", json!(128)),
            ("int8", json!(1.5)),
            ("uint8", json!(-1)),
            ("int64", json!(u64::MAX)),
            ("int64", json!(1e300)),
            ("uint64", json!(1.8446744073709552e19)),
            ("bool", json!(2)),
            ("float16", json!(65520)),
            ("float32", json!(1e39)),
            ("int8", json!(true)),
            ("float64", json!(false)),
            ("float64", json!("1")),
        ] {
            assert_eq!(written(name, wrong.clone()), None, "{name} {wrong}");
        }
    }
}
