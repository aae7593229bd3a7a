//! Headers as bytes, written by hand from the figures of RFC 7143 chapter 11.
use super::*;
