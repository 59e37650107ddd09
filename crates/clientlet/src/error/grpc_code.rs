//! The status codes of gRPC.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// The status code with which a gRPC call ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum GrpcCode {
            $($(#[$doc])* $variant = $number,)*
        }

        impl GrpcCode {
            /// The code with this number. A number that gRPC does not define is
            /// [`Unknown`](GrpcCode::Unknown), as gRPC says.
            pub fn of_number(number: u32) -> GrpcCode {
                match number {
                    $($number => GrpcCode::$variant,)*
                    _ => GrpcCode::Unknown,
                }
            }

            /// The code's name in the specification's spelling, such as `DEADLINE_EXCEEDED`.
            pub fn name(self) -> &'static str {
                match self {
                    $(GrpcCode::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    /// The call ended well.
    Ok = 0 "OK",
    /// The call was cancelled.
    Cancelled = 1 "CANCELLED",
    /// An error that has no other code.
    Unknown = 2 "UNKNOWN",
    /// The request is wrong, whatever the server's state is.
    InvalidArgument = 3 "INVALID_ARGUMENT",
    /// The time ran out.
    DeadlineExceeded = 4 "DEADLINE_EXCEEDED",
    /// What was asked for is not there.
    NotFound = 5 "NOT_FOUND",
    /// What should be made is there already.
    AlreadyExists = 6 "ALREADY_EXISTS",
    /// The caller is known and may not do this.
    PermissionDenied = 7 "PERMISSION_DENIED",
    /// A limit is reached, such as the size of a message or the number of requests.
    ResourceExhausted = 8 "RESOURCE_EXHAUSTED",
    /// The server's state does not allow it.
    FailedPrecondition = 9 "FAILED_PRECONDITION",
    /// The call was given up, for example because of a conflict with another one.
    Aborted = 10 "ABORTED",
    /// A value is beyond the valid range.
    OutOfRange = 11 "OUT_OF_RANGE",
    /// The server does not have this method.
    Unimplemented = 12 "UNIMPLEMENTED",
    /// The server itself is at fault.
    Internal = 13 "INTERNAL",
    /// The server cannot work at the moment.
    Unavailable = 14 "UNAVAILABLE",
    /// Data is lost or damaged.
    DataLoss = 15 "DATA_LOSS",
    /// Credentials are missing or wrong.
    Unauthenticated = 16 "UNAUTHENTICATED",
}

impl GrpcCode {
    /// The code's number, 0 to 16.
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for GrpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_its_code_and_an_undefined_one_is_unknown() {
        for number in 0..17 {
            assert_eq!(u32::from(GrpcCode::of_number(number).number()), number);
        }
        for number in [17, 99, u32::MAX] {
            assert_eq!(GrpcCode::of_number(number), GrpcCode::Unknown);
        }
        assert_eq!(GrpcCode::of_number(4).to_string(), "DEADLINE_EXCEEDED");
    }
}
