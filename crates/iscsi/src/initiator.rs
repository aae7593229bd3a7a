//! The initiator.
mod config;
mod event;
pub use config::{Config, ConfigError, SessionType};
pub use event::{
    Closed, Command, Completion, DiscoveredTarget, Error, Event, Login, SubmitError, TaskError,
    TaskId, Transfer,
};
