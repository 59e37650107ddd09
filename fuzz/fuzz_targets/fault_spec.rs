//! The text of a fault: a fault that is printed and parsed is the same fault.
#![no_main]

use clientlet_gateway::Fault;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|spec: &str| {
    let Ok(fault) = spec.parse::<Fault>() else { return };
    let shown = fault.to_string();
    let again = shown.parse::<Fault>();
    assert_eq!(again.as_ref(), Ok(&fault), "{spec:?} is shown as {shown:?}");
});
