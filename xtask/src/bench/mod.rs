//! Measurements beside a peer in the same run and in turns, so that a busy moment of the machine
//! meets both. Each prints a table for docs/performance.md.

pub(crate) mod boot;
pub(crate) mod frames;
pub(crate) mod https;
mod loopback;
pub(crate) mod san;
pub(crate) mod sessions;
pub(crate) mod target;

/// Sorts `values` and returns the middle one, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// A median and how far the measurements are from it.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// Of all `values`; nothing where there are none.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        let median = median(&mut values)?;
        let (least, most) = (*values.first()?, *values.last()?);
        Some(Self {
            least,
            median,
            most,
        })
    }

    fn display(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.least, self.most)
    }
}
