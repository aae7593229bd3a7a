//! The initiator alone.
