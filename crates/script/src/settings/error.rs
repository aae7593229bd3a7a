//! Why a setting cannot be looked up or stored, in words.

use alloc::string::String;
use core::fmt;

use super::{SettingType, ValueError};
use crate::{limits, similar};

/// Why a setting cannot be looked up or stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingError {
    /// The part before the slash is no scope.
    BadScope {
        /// That part.
        scope: String,
    },
    /// The text or the present value does not fit the type.
    BadValue {
        /// The setting.
        name: String,
        /// What is wrong.
        error: ValueError,
    },
    /// Over [`limits::NAME_BYTES`].
    LongName,
    /// `netX`, but no interface was opened yet.
    NoInterface,
    /// There is no name.
    NoName,
    /// Computed by the loader.
    ReadOnly {
        /// The setting.
        name: String,
    },
    /// Over [`limits::VALUE_BYTES`].
    TooLarge {
        /// The setting.
        name: String,
    },
    /// Over [`limits::SETTINGS`], [`limits::SETTINGS_BYTES`] or [`limits::SCOPES`].
    TooMany,
    /// The part after the colon is no type.
    UnknownType {
        /// That part.
        kind: String,
    },
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadScope { scope } => {
                write!(out, "`{scope}` is no scope, like net0 or net0.dhcp")
            }
            Self::BadValue { name, error } => write!(out, "{name}: {error}"),
            Self::LongName => {
                write!(out, "the name is longer than {} bytes", limits::NAME_BYTES)
            }
            Self::NoInterface => out.write_str("netX: no network interface has been opened yet"),
            Self::NoName => out.write_str("the name of the setting is missing"),
            Self::ReadOnly { name } => write!(out, "{name} is read-only"),
            Self::TooLarge { name } => {
                write!(
                    out,
                    "{name}: the value is longer than {} bytes",
                    limits::VALUE_BYTES
                )
            }
            Self::TooMany => write!(
                out,
                "no room: there are {} settings, {} bytes in them, or {} scopes",
                limits::SETTINGS,
                limits::SETTINGS_BYTES,
                limits::SCOPES
            ),
            Self::UnknownType { kind } => {
                write!(out, "`{kind}` is no type of settings")?;
                let names = SettingType::ALL.into_iter().map(SettingType::name);
                match similar::closest(kind, names) {
                    Some(near) => write!(out, ", did you mean `{near}`?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl core::error::Error for SettingError {}
