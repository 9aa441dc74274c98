//! The body of the fuzz target.
