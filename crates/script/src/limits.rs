//! The bounds of the language. iPXE has none; a script that arrives over a network needs them.
//!
//! They are far above what scripts in use need, and low enough for a loader with a few
//! megabytes of memory. Each has a test that hits it.

/// Bytes of one script.
pub const SCRIPT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of one line, continuation lines joined.
pub const LINE_BYTES: usize = 16 * 1024;

/// Words of one line, operators included.
pub const LINE_WORDS: usize = 1024;

/// Bytes of one command after expansion, all words together.
pub const COMMAND_BYTES: usize = 64 * 1024;

/// Expansions made in one word before it is taken for endless.
pub const WORD_EXPANSIONS: usize = 1000;

/// Bytes of one setting's value.
pub const VALUE_BYTES: usize = 64 * 1024;

/// Bytes of one setting's name, scope and type included.
pub const NAME_BYTES: usize = 512;

/// Settings that all scopes hold together.
pub const SETTINGS: usize = 4096;

/// Bytes that all values hold together.
pub const SETTINGS_BYTES: usize = 4 * 1024 * 1024;

/// Scopes that exist at one time.
pub const SCOPES: usize = 512;

/// Nested scopes in one name, as in `net0.dhcp`.
pub const SCOPE_DEPTH: usize = 8;

/// Numbers in one tag, as in `175.190`.
pub const TAG_DEPTH: usize = 8;

/// Bytes of one URI.
pub const URI_BYTES: usize = 8 * 1024;

/// Bytes of an iSCSI name (RFC 7143 section 4.2.7.1).
pub const ISCSI_NAME_BYTES: usize = 223;
