//! Bounds on what initiators can make the server do.

use std::time::Duration;

/// The bounds. `Default` has the values that the server runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time, over all targets.
    pub connections_max: usize,
    /// From the connection to the end of the login.
    pub login_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            login_time_max: Duration::from_secs(15),
        }
    }
}
