//! Writes a list of singles at once.

use serde::ser::Impossible;

use super::json::Json;
use super::parts::Parts;
use crate::document::refusal::Refusal;
use crate::document::serializer::Destination;
use crate::document::single;

/// Takes the bytes of all singles in a list.
pub(super) struct Row<'j, 'o>(pub(super) &'j mut Json<'o>);

impl<'j, 'o> Destination for Row<'j, 'o> {
    type Seq = Parts<'j, 'o>;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = "singles must be made of bytes";
    const IS_HUMAN_READABLE: bool = false;

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        let (numbers, _) = bytes.as_chunks::<4>();
        let mut list = self.0.seq(Some(numbers.len()))?;
        // A list that takes its first number takes all singles that are finite, so the others are not checked one by
        // one. One that is not finite is refused here.
        while let Some((number, others)) = numbers[list.count..].split_first() {
            list.element(&f32::from_le_bytes(*number))?;
            list.count += single::write_others(others, list.json.out);
        }
        list.close_list()
    }

    /// Takes any list. serde's own buffers (`flatten` around an enum) are human-readable, so they have the numbers.
    fn seq(self, length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        self.0.seq(length)
    }
}
