//! Bounds on what initiators can make the server do.

use std::time::Duration;

/// The bounds. `Default` has the values that the server runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time, over all targets.
    pub connections_max: usize,
    /// From the connection to the end of the login.
    pub login_time_max: Duration,
    /// Commands of one session that storage works on at a time; more wait.
    pub tasks_max: usize,
    /// Bytes that these commands may move together; a larger one goes alone.
    pub task_bytes_max: usize,
    /// Bytes that wait to be sent on one connection. While there are more, nothing is read from
    /// it and no command is begun.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            login_time_max: Duration::from_secs(15),
            tasks_max: 32,
            task_bytes_max: 16 * 1024 * 1024,
            output_bytes_max: 4 * 1024 * 1024,
        }
    }
}
