//! Who we are: Basic and Digest authentication (RFC 9110 section 11, RFC 7617, RFC 7616).
//!
//! Nothing is said unasked. Of what a server offers the strongest is taken: Digest with SHA-256,
//! Digest with MD5, Basic.

mod digest;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

pub(super) use self::digest::Digest;

/// A user name and a password. The password does not show and is wiped after use.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Zeroizing<String>,
}

/// Something that a user name or a password cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCredentials;

impl fmt::Display for BadCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the user name or the password has control characters in it")
    }
}

impl core::error::Error for BadCredentials {}

impl Credentials {
    /// Keeps them, decoded.
    ///
    /// # Errors
    /// [`BadCredentials`]: there are control characters (RFC 7617 section 2).
    pub fn new(user: &str, password: &str) -> Result<Self, BadCredentials> {
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err(BadCredentials);
        }
        Ok(Self {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        })
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, ***)", self.user)
    }
}

/// How we answer a server's challenge.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Basic,
    Digest(Digest),
}

impl Answer {
    /// The strongest of what a server offers in its WWW-Authenticate fields, else the names of
    /// what it offers. `random` becomes the client's nonce.
    pub(super) fn choose(fields: &[String], random: u64) -> Result<Self, String> {
        let offers: Vec<Challenge> = fields.iter().flat_map(|field| challenges(field)).collect();
        let digests = offers.iter().filter_map(|offer| Digest::new(offer, random));
        if let Some(digest) = digests.max_by_key(Digest::strength) {
            return Ok(Self::Digest(digest));
        }
        // RFC 7617 section 2: the colon ends the user name; the caller has looked for one.
        if offers.iter().any(|offer| offer.is("Basic")) {
            return Ok(Self::Basic);
        }
        let names: Vec<&str> = offers.iter().map(|offer| offer.scheme.as_str()).collect();
        Err(names.join(", "))
    }

    /// The value of the Authorization field for one request.
    pub(super) fn authorization(
        &mut self,
        credentials: &Credentials,
        method: &str,
        target: &str,
    ) -> Zeroizing<String> {
        match self {
            Self::Basic => {
                let pair =
                    Zeroizing::new(format!("{}:{}", credentials.user, *credentials.password));
                Zeroizing::new(format!("Basic {}", *base64(pair.as_bytes())))
            }
            Self::Digest(digest) => {
                Zeroizing::new(digest.authorization(credentials, method, target))
            }
        }
    }

    /// Whether a new challenge only says that the nonce is too old (RFC 7616 section 3.3).
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(digest) if digest.is_stale)
    }

    /// Whether the user name may not have a colon.
    pub(super) fn is_basic(&self) -> bool {
        matches!(self, Self::Basic)
    }
}

/// What a server wants to be told (RFC 9110 section 11.6.1).
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter();
        found
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The challenges of one field. A name is a parameter's if a `=` follows, else a scheme's.
fn challenges(field: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '"', '=']);
        if rest.is_empty() {
            return found;
        }
        let (name, after) =
            rest.split_at(rest.find([' ', '\t', ',', '"', '=']).unwrap_or(rest.len()));
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, found.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
                challenge.parameters.push((name.into(), value));
                rest = after;
            }
            _ => {
                found.push(Challenge {
                    scheme: name.into(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

/// A token or a quoted string (RFC 9110 section 5.6), and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', '\t', ',']).unwrap_or(text.len()));
        return (value.into(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            let letter = ALPHABET.get(digit).copied().unwrap_or(b'=');
            text.push(char::from(if place > group.len() { b'=' } else { letter }));
        }
    }
    Zeroizing::new(text)
}

#[cfg(test)]
mod tests;
