//! Work begun.
fn main() {}
