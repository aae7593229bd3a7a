//! Login status class and detail (RFC 7143 section 11.13.5).

use core::fmt;

/// How a target answered a login: class in the high byte, detail in the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginStatus(pub u16);

impl LoginStatus {
    /// The login proceeds.
    pub const SUCCESS: Self = Self(0x0000);
    /// The target is elsewhere for now.
    pub const MOVED_TEMPORARILY: Self = Self(0x0101);
    /// The target is elsewhere for good.
    pub const MOVED_PERMANENTLY: Self = Self(0x0102);
    /// Something about the request was wrong.
    pub const INITIATOR_ERROR: Self = Self(0x0200);
    /// The initiator did not prove itself, or one of the two wants a proof the other lacks.
    pub const AUTHENTICATION_FAILURE: Self = Self(0x0201);
    /// This initiator may not use this target.
    pub const AUTHORIZATION_FAILURE: Self = Self(0x0202);
    /// There is no such target.
    pub const NOT_FOUND: Self = Self(0x0203);
    /// The target is gone and left no address.
    pub const TARGET_REMOVED: Self = Self(0x0204);
    /// The two speak different versions of the protocol.
    pub const UNSUPPORTED_VERSION: Self = Self(0x0205);
    /// The session has as many connections as it may have.
    pub const TOO_MANY_CONNECTIONS: Self = Self(0x0206);
    /// A key that is needed was not sent.
    pub const MISSING_PARAMETER: Self = Self(0x0207);
    /// The target's portal group does not include this address.
    pub const CANNOT_INCLUDE_IN_SESSION: Self = Self(0x0208);
    /// No sessions of this type here.
    pub const SESSION_TYPE_NOT_SUPPORTED: Self = Self(0x0209);
    /// The session to be continued is not there.
    pub const SESSION_DOES_NOT_EXIST: Self = Self(0x020a);
    /// The request does not fit the stage of the login.
    pub const INVALID_DURING_LOGIN: Self = Self(0x020b);
    /// The target failed.
    pub const TARGET_ERROR: Self = Self(0x0300);
    /// The target does not work now.
    pub const SERVICE_UNAVAILABLE: Self = Self(0x0301);
    /// The target has no room for another session.
    pub const OUT_OF_RESOURCES: Self = Self(0x0302);

    /// Status-Class.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Status-Detail.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0.to_be_bytes()[1]
    }
}

impl fmt::Display for LoginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::SUCCESS => "success",
            Self::MOVED_TEMPORARILY => "the target has moved for now",
            Self::MOVED_PERMANENTLY => "the target has moved for good",
            Self::INITIATOR_ERROR => "the target found an error in the login request",
            Self::AUTHENTICATION_FAILURE => "authentication failed",
            Self::AUTHORIZATION_FAILURE => "this initiator is not allowed to use this target",
            Self::NOT_FOUND => "there is no such target",
            Self::TARGET_REMOVED => "the target was removed",
            Self::UNSUPPORTED_VERSION => "the target does not support this protocol version",
            Self::TOO_MANY_CONNECTIONS => "too many connections in the session",
            Self::MISSING_PARAMETER => "the target misses a parameter",
            Self::CANNOT_INCLUDE_IN_SESSION => "the target cannot include this connection",
            Self::SESSION_TYPE_NOT_SUPPORTED => "the target does not support this session type",
            Self::SESSION_DOES_NOT_EXIST => "the session does not exist",
            Self::INVALID_DURING_LOGIN => "the request is not valid during login",
            Self::TARGET_ERROR => "the target has an internal error",
            Self::SERVICE_UNAVAILABLE => "the target is not in service",
            Self::OUT_OF_RESOURCES => "the target is out of resources (sessions, memory)",
            _ => match self.class() {
                1 => "the target is elsewhere",
                2 => "the target refused the login as the initiator's error",
                3 => "the target has an error",
                _ => "the target gave a status that RFC 7143 does not know",
            },
        })?;
        if self.0 == 0 {
            Ok(())
        } else {
            write!(f, " (login status {:04x})", self.0)
        }
    }
}
