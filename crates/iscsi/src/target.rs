//! The target.
mod config;
mod event;
pub use config::{Admission, Applicant, Config, Connected, Directory, Listing};
pub use event::{Closed, Command, Event, Login, Response, TaskId, TaskManagement};
