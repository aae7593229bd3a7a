//! The target alone.
