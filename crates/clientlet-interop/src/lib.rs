//! Work begun.
