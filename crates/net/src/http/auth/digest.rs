//! Digest authentication (RFC 7616), `qop=auth`, and without `qop` for servers of RFC 2069.

use alloc::format;
use alloc::string::String;

use md5::Md5;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Challenge, Credentials};

/// A Digest challenge that we can answer.
#[derive(Clone, Debug)]
pub(in super::super) struct Digest {
    algorithm: Algorithm,
    is_session: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    has_qop: bool,
    hides_user: bool,
    pub(super) is_stale: bool,
    cnonce: String,
    /// Requests made with this nonce.
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Digest {
    /// Reads a challenge; `None` if it is not one that we can answer.
    pub(super) fn new(challenge: &Challenge, random: u64) -> Option<Self> {
        if !challenge.is("Digest") {
            return None;
        }
        let (algorithm, is_session) = match challenge.parameter("algorithm") {
            None => (Algorithm::Md5, false),
            Some(name) => *NAMES
                .iter()
                .find(|(other, _)| name.eq_ignore_ascii_case(other))
                .map(|(_, it)| it)?,
        };
        let qop = challenge.parameter("qop");
        let auth = |list: &str| {
            list.split(',')
                .any(|qop| qop.trim_ascii().eq_ignore_ascii_case("auth"))
        };
        if !qop.is_none_or(auth) {
            return None;
        }
        let is_true = |name| {
            let value = challenge.parameter(name);
            value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        Some(Self {
            algorithm,
            is_session,
            realm: challenge.parameter("realm")?.into(),
            nonce: challenge.parameter("nonce")?.into(),
            opaque: challenge.parameter("opaque").map(String::from),
            has_qop: qop.is_some(),
            hides_user: is_true("userhash"),
            is_stale: is_true("stale"),
            cnonce: format!("{random:016x}"),
            count: 0,
        })
    }

    /// More is better.
    pub(super) fn strength(&self) -> impl Ord + use<> {
        (self.algorithm, self.has_qop)
    }

    /// RFC 7616 section 3.4.
    pub(super) fn authorization(
        &mut self,
        credentials: &Credentials,
        method: &str,
        target: &str,
    ) -> String {
        self.count = self.count.wrapping_add(1);
        let hash = |text: &str| self.algorithm.hash(text);
        let Self {
            realm,
            nonce,
            cnonce,
            ..
        } = &*self;
        let user = &credentials.user;
        let secret = Zeroizing::new(format!("{user}:{realm}:{}", *credentials.password));
        let mut a1 = Zeroizing::new(hash(&secret));
        if self.is_session {
            a1 = Zeroizing::new(hash(&format!("{}:{nonce}:{cnonce}", *a1)));
        }
        let a2 = hash(&format!("{method}:{target}"));
        let count = format!("{:08x}", self.count);
        let response = Zeroizing::new(if self.has_qop {
            format!("{}:{nonce}:{count}:{cnonce}:auth:{a2}", *a1)
        } else {
            format!("{}:{nonce}:{a2}", *a1)
        });
        let shown = if self.hides_user {
            hash(&format!("{user}:{realm}"))
        } else {
            quote(user)
        };
        let mut field = format!(
            "Digest username=\"{shown}\", realm=\"{}\", uri=\"{}\", algorithm={}, nonce=\"{}\", response=\"{}\"",
            quote(realm),
            quote(target),
            self.name(),
            quote(nonce),
            hash(&response),
        );
        if self.has_qop {
            field += &format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &self.opaque {
            field += &format!(", opaque=\"{}\"", quote(opaque));
        }
        if self.hides_user {
            field += ", userhash=true";
        }
        field
    }

    fn name(&self) -> &'static str {
        let mut names = NAMES.iter();
        let found = names.find(|(_, it)| *it == (self.algorithm, self.is_session));
        found.map_or("MD5", |(name, _)| name)
    }

    #[cfg(test)]
    pub(super) fn with_cnonce(mut self, cnonce: &str) -> Self {
        self.cnonce = cnonce.into();
        self
    }
}

const NAMES: [(&str, (Algorithm, bool)); 4] = [
    ("MD5", (Algorithm::Md5, false)),
    ("MD5-sess", (Algorithm::Md5, true)),
    ("SHA-256", (Algorithm::Sha256, false)),
    ("SHA-256-sess", (Algorithm::Sha256, true)),
];

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 9110 section 5.6.4.
fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
