//! serde knows four kinds of list, which a document writes alike.

/// Implements all four kinds for `$parts`: method `$element` writes an element, `$end` ends the
/// list.
macro_rules! list_parts {
    ($parts:ty, $element:ident, $end:ident) => {
        $crate::document::list_parts::list_parts! {
            $parts, $element, $end;
            SerializeSeq::serialize_element,
            SerializeTuple::serialize_element,
            SerializeTupleStruct::serialize_field,
            SerializeTupleVariant::serialize_field
        }
    };
    ($parts:ty, $element:ident, $end:ident; $($trait:ident::$method:ident),*) => {
        $(impl serde::ser::$trait for $parts {
            type Ok = ();
            type Error = $crate::document::refusal::Refusal;

            fn $method<T: serde::Serialize + ?Sized>(
                &mut self,
                value: &T,
            ) -> Result<(), $crate::document::refusal::Refusal> {
                self.$element(value)
            }

            fn end(self) -> Result<(), $crate::document::refusal::Refusal> {
                self.$end()
            }
        })*
    };
}

pub(super) use list_parts;
