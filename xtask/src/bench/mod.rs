//! Measurements beside a peer in the same run and in turns, so that a busy moment of the machine
//! meets both. Each prints a table for docs/performance.md.

pub(crate) mod boot;
mod loopback;
pub(crate) mod target;

/// Sorts `values` and returns the middle one, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}
