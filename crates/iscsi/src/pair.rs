//! The two ends in memory.
