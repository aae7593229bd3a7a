//! Failures for the person at the console: what was being done, with whom, what was seen, and a
//! stable code that `help CODE` and `docs/errors.md` explain.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::platform::{FirmwareError, StartError};

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// The console has it already, or it is the plain answer of a test.
    is_shown: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            is_shown: false,
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The words without the code.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same failure, seen from further out: `<context>: <message>`.
    #[must_use]
    pub(crate) fn within(self, context: impl fmt::Display) -> Self {
        Self {
            message: format!("{context}: {}", self.message),
            ..self
        }
    }

    /// The same failure, not to be printed again.
    #[must_use]
    pub(crate) fn shown(self) -> Self {
        Self {
            is_shown: true,
            ..self
        }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.is_shown
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Code::Cancelled, "cancelled by Ctrl-C")
    }

    pub(crate) fn short_read(got: usize, wanted: usize) -> Self {
        Self::new(
            Code::DiskProtocol,
            format!("the disk sent {got} bytes where {wanted} were asked for"),
        )
    }
}

/// `<message> [<code>]`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl From<FirmwareError> for Failure {
    fn from(error: FirmwareError) -> Self {
        Self::new(Code::Firmware, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::NoFileSystem => Code::DiskNoFileSystem,
            StartError::NoFile { .. } => Code::DiskNoFile,
            StartError::Load(_) => Code::ImageRefused,
            StartError::Exited(_) => Code::ImageReturned,
            StartError::CardLost(_) => Code::NetNoCard,
        };
        Self::new(code, error.to_string())
    }
}

macro_rules! codes {
    ($($name:ident $slug:literal $what:literal $try:literal;)*) => {
        /// A stable name for a kind of failure. Names are never reused for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $(#[doc = $what] $name,)* }

        impl Code {
            /// Every code, in the order of `docs/errors.md`.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is printed.
            pub(crate) const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// What it means.
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// What to try.
            pub(crate) const fn advice(self) -> &'static str {
                match self { $(Self::$name => $try,)* }
            }
        }
    };
}

codes! {
    Cancelled "cancelled"
        "Ctrl-C was pressed while the command ran."
        "Nothing is wrong. Two Ctrl-C within two seconds end the whole script.";
    PromptTimeout "prompt-timeout"
        "No key was pressed while `prompt --timeout` waited, or nothing was entered while `read --timeout` did."
        "The time is in milliseconds. Go on with `||`, as in `prompt --timeout 3000 || goto boot`.";
    CommandUnknown "command-unknown"
        "There is no command of this name."
        "`help` lists the commands. Names are written in lower case.";
    CommandUsage "command-usage"
        "A command was given an option or argument that it does not take, or lacks one."
        "`help COMMAND` shows what it takes.";
    ScriptEnd "script-end"
        "A script ended by itself, without an `exit`, and so nothing was booted."
        "End the script with the command that boots, or with `shell`.";
    ScriptExit "script-exit"
        "A script ended with `exit` and a status that is not zero."
        "The status is the script's own: look at the `exit` line it names.";
    ScriptLabel "script-label"
        "A `goto` names a label that the script does not have."
        "A label is a line that begins with a colon: `:fail`. The message names a line that lacks only the colon, if there is one.";
    ScriptText "script-text"
        "The script cannot be read: its first line is not `#!ipxe`, it is not text, or a line is too long or refers to itself without end."
        "Look at the line that the message names. A web server's error page is a usual cause.";
    ScriptDepth "script-depth"
        "Scripts chained each other too deep."
        "Look for two scripts that chain each other, or use `chain --replace`.";
    MenuUnknown "menu-unknown"
        "There is no menu or form of this name, it has no item, or there are too many."
        "Begin with `menu TITLE`, add `item NAME TEXT` lines, then `choose SETTING`, which forgets the menu unless --keep is given.";
    ParametersUnknown "parameters-unknown"
        "There is no list of request parameters of this name, or it is full."
        "Begin with `params`, add `param KEY VALUE` lines, then use a URI that ends in ##params. A list serves one request.";
    SettingName "setting-name"
        "A setting's name, type or value is not one."
        "`set` takes `[scope/]name[:type] value`, for example `set net0/ip 192.168.1.50`.";
    SettingUnset "setting-unset"
        "A setting that a command needs has no value, or a test (`isset`, `iseq`) was not true."
        "`show NAME` prints a setting. After `isset` and `iseq`, go on with `||`.";
    NetNoCard "net-no-card"
        "The firmware offers no network card, or none of the given name."
        "`ifstat` lists the cards. On U-Boot, look whether `net list` shows the card; on EDK2, whether the card has a UEFI driver.";
    NetNoLink "net-no-link"
        "The card sees no carrier."
        "Check the cable, the switch port and, on a virtual machine, whether the card is connected.";
    NetNoAddress "net-no-address"
        "No network card has an address."
        "Run `dhcp` first, or set net0/ip, net0/netmask and net0/gateway.";
    NetRoute "net-route"
        "No network card leads to the address."
        "`route` shows the networks and the routers. Is the gateway set?";
    DhcpNoAnswer "dhcp-no-answer"
        "No DHCP server answered."
        "Is a DHCP server on this network segment, or a relay? Does it have free addresses, and does it serve this MAC address?";
    DhcpRefused "dhcp-refused"
        "A DHCP server answered, but did not give the address it offered."
        "Two servers with different views of the network are a usual cause: look at the log of the one that the message names.";
    DnsFailed "dns-failed"
        "A name could not be turned into an address."
        "`show dns` prints the name servers. Try the address instead of the name.";
    UriInvalid "uri-invalid"
        "A URI or a root path cannot be read."
        "Examples: `http://192.168.1.1/boot.ipxe`, `iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1`.";
    UriUnsupported "uri-unsupported"
        "This loader does not speak the protocol of the URI."
        "`http`, `https` and `tftp` work, and `iscsi:` for disks.";
    ConnectRefused "connect-refused"
        "The machine is there, but nothing listens on the port, or a firewall said no."
        "Is the service started, and on this address and port?";
    ConnectTimeout "connect-timeout"
        "The machine did not answer at all."
        "Is the address right and the machine on? A firewall that drops packets looks the same.";
    ConnectFailed "connect-failed"
        "A connection could not be made or broke."
        "Look at the log of the server; it may have restarted.";
    FileMissing "file-missing"
        "A file: URI names a file that the loader's volume has not, or that cannot be read."
        "`file:name` is beside the loader, `file:/folder/name` begins at the root of its volume. A loader that came over the network has no volume.";
    TftpError "tftp-error"
        "The TFTP server refused to send the file."
        "It says why. Does the file exist below the server's folder, and may everybody read it?";
    FtpError "ftp-error"
        "The FTP server does not let us in, or does not send the file."
        "It says why. The path is relative to the folder of the login; user and password stand in the URI: `ftp://user:password@host/path`.";
    NfsError "nfs-error"
        "The NFS server does not let us mount a folder on the way to the file, or does not send the file."
        "It says why. NFS version 3 over TCP is spoken; the settings `uid` and `gid` are the user that the server sees.";
    NtpError "ntp-error"
        "The NTP server does not tell the time."
        "It says why. `ntp ${ntp}` asks the server that DHCP names; does it serve this network, and is it synchronised?";
    HttpStatus "http-status"
        "The web server answered with an error."
        "404 is a wrong path, 403 missing permission: its log has the path that was asked for.";
    HttpAuthentication "http-authentication"
        "The web server wants a user name and a password, or does not accept those it was given."
        "Write them into the URI: `http://user:password@host/path`. They never go to another server.";
    HttpBroken "http-broken"
        "What the web server sent is not HTTP or ended too early."
        "Is it a web server that listens there?";
    TlsNoAnchors "tls-no-anchors"
        "No trust roots are packed into this loader, so no `https` server can be trusted."
        "Pack the certificate of your authority: `bowline loader pack --trust ca.pem ...`.";
    TlsNoEntropy "tls-no-entropy"
        "TLS needs unpredictable numbers, and this machine has no source of randomness that is good enough."
        "Give a virtual machine a virtio-rng device; on hardware, enable the firmware's random number generator.";
    TlsTimeout "tls-timeout"
        "The server accepted the connection, but did not finish the TLS handshake in time."
        "The server may be overloaded, or something other than TLS listens on the port.";
    TlsExpired "tls-expired"
        "A certificate in the server's chain has expired by the clock that the message gives."
        "If the clock is right, renew the certificate. If it is wrong, set it in the firmware's setup.";
    TlsNotYetValid "tls-not-yet-valid"
        "A certificate in the server's chain is not valid yet by the clock that the message gives."
        "The clock of this machine or of the authority that issued the certificate is wrong.";
    TlsInvalidValidity "tls-invalid-validity"
        "A certificate's validity ends before it begins."
        "Issue it again.";
    TlsAnchorNotValid "tls-anchor-not-valid"
        "The packed root that would have fitted has expired or is not valid yet."
        "Pack the current root: `bowline loader pack --trust ca.pem ...`.";
    TlsNameMismatch "tls-name-mismatch"
        "The server's certificate is for other names than the one in the URI."
        "Use a name that the message lists, or issue a certificate for this one.";
    TlsNameOnlyInCommonName "tls-name-only-in-common-name"
        "The server's certificate has the name in its common name only, which does not count (RFC 9525)."
        "Issue it again with the name as subjectAltName.";
    TlsNameConstraint "tls-name-constraint"
        "An authority issued a certificate for a name outside the ones it is limited to."
        "Issue it from an authority that may.";
    TlsUnknownRoot "tls-unknown-root"
        "The server's chain ends at an authority that is not among the packed roots."
        "`bowline loader show` lists the packed roots. Pack the right one, or look who answers in the server's place.";
    TlsUnknownIssuer "tls-unknown-issuer"
        "The issuer of the server's certificate is neither among the packed roots nor was it presented."
        "Pack the right root, or let the server present the whole chain.";
    TlsMissingIntermediate "tls-missing-intermediate"
        "The server does not present the intermediate certificate that leads to a packed root."
        "Configure the server with the whole chain (nginx: the certificate file, own certificate first).";
    TlsSelfSigned "tls-self-signed"
        "The server's certificate vouches for itself and is not among the packed roots."
        "Issue one from your authority (`bowline ca`), or pack this one as a root.";
    TlsNoCertificate "tls-no-certificate"
        "The server presented no certificate."
        "It is misconfigured.";
    TlsCaAsLeaf "tls-ca-as-leaf"
        "The server uses an authority's certificate as its own."
        "Issue it a certificate of its own.";
    TlsLeafAsCa "tls-leaf-as-ca"
        "A certificate that is not an authority's was used to issue another."
        "Somebody with a server's key tried to be an authority: look into it.";
    TlsPathTooLong "tls-path-too-long"
        "There are more authorities in a row than one of them allows."
        "Its path length constraint says how many.";
    TlsWrongPurpose "tls-wrong-purpose"
        "The certificate is for another purpose than being a server's (extended key usage)."
        "Issue it again for server authentication.";
    TlsKeyUsage "tls-key-usage"
        "A certificate may not be used like this by its key usage."
        "Issue it again with the usage that the message names.";
    TlsCriticalExtension "tls-critical-extension"
        "A certificate has a critical extension that this loader does not know."
        "Issue it without it.";
    TlsWeakKey "tls-weak-key"
        "A certificate's key is too short."
        "RSA keys need 2048 bits; P-256, P-384 and Ed25519 are fine.";
    TlsWeakSignature "tls-weak-signature"
        "A certificate is signed with a broken hash (SHA-1 or older)."
        "Issue it again with SHA-256.";
    TlsUnsupportedKey "tls-unsupported-key"
        "A certificate has a kind of key that this loader does not use."
        "RSA, P-256, P-384 and Ed25519 work.";
    TlsUnsupportedSignature "tls-unsupported-signature"
        "A certificate is signed in a way that this loader does not know."
        "RSA (PKCS #1 v1.5 or PSS), ECDSA and Ed25519 with SHA-2 work.";
    TlsBadSignature "tls-bad-signature"
        "A certificate was not signed by the key of its issuer."
        "The chain is put together wrongly, or somebody changed a certificate.";
    TlsMalformed "tls-malformed"
        "A certificate cannot be read."
        "Look at the server's certificate file with `openssl x509 -text`.";
    TlsTooManyCertificates "tls-too-many-certificates"
        "The server presented more certificates than are looked at."
        "A server needs its own and the intermediate ones.";
    TlsTooComplex "tls-too-complex"
        "Checking the chain would take too long."
        "Present fewer cross-signed certificates.";
    TlsBadName "tls-bad-name"
        "The host in the URI is neither a DNS name nor an IP address."
        "Check its spelling.";
    TlsBadHandshakeSignature "tls-bad-handshake-signature"
        "The server could not prove that it has the key of its certificate."
        "Its key file belongs to another certificate, or it is not the server it says it is.";
    TlsAlert "tls-alert"
        "The server broke off with an alert, which the message explains."
        "Its log has more. A server that wants a client certificate needs one packed: `--cert` and `--key`.";
    TlsNotTls "tls-not-tls"
        "What listens on the port does not speak TLS."
        "Is it the port for `https`, and is TLS switched on there?";
    TlsOldVersion "tls-old-version"
        "The server speaks only versions before TLS 1.2."
        "Enable TLS 1.2 or 1.3 on it.";
    TlsNothingInCommon "tls-nothing-in-common"
        "The server and this loader have no version, cipher suite or group in common."
        "Enable TLS 1.3, or ECDHE with AES-GCM or ChaCha20-Poly1305, on the server.";
    TlsBadRecord "tls-bad-record"
        "A record failed its integrity check."
        "It was changed on the way, or the server is broken.";
    TlsOversizedRecord "tls-oversized-record"
        "The server sent a record that is longer than TLS allows."
        "The server is broken, or it is none.";
    TlsHandshakeTooLarge "tls-handshake-too-large"
        "The server's handshake is longer than any honest one."
        "Let it present fewer certificates.";
    TlsTruncated "tls-truncated"
        "The connection ended without TLS's closing message, so that data may be missing."
        "The server crashed, or somebody cut the connection.";
    TlsProtocol "tls-protocol"
        "The server broke the rules of TLS."
        "Report it together with the name and version of the server.";
    TlsClosed "tls-closed"
        "Something was sent on a TLS connection that was over."
        "Try again; report it if it stays.";
    TlsInternal "tls-internal"
        "This loader's own side of TLS failed."
        "This is a defect: report it.";
    ImageUnknown "image-unknown"
        "There is no image of this name, or none was selected."
        "`imgstat` lists the images.";
    ImageFormat "image-format"
        "The image is neither a script (`#!ipxe`) nor an EFI program."
        "Look at what the server sent: `imgstat` shows its length.";
    ImageDamaged "image-damaged"
        "The image cannot be unpacked: it is damaged or in a format that this loader does not know."
        "gzip and zlib are known. Compare `sha256sum` with that of the file on the server.";
    ImageTooBig "image-too-big"
        "The image is longer than this loader keeps in memory."
        "Boot large systems from a disk (`sanboot`), not from an image.";
    ImageRefused "image-refused"
        "The firmware did not load the program."
        "Is it for this processor? With Secure Boot, is it signed?";
    ImageReturned "image-returned"
        "The program started and came back with an error."
        "The program's own messages say more.";
    ImageSignature "image-signature"
        "The signature of the image proves nothing: it is damaged or of another image, or its signer is not trusted."
        "The message says which. `help imgverify` shows how signatures are made; `certstat` lists what is trusted.";
    ImageUntrusted "image-untrusted"
        "Only images whose signature was verified are run, and this one's was not."
        "`imgverify IMAGE SIGNATURE` verifies it; `imgtrust --allow` runs any, unless that was ruled out with `--permanent`.";
    ImageEnvelope "image-envelope"
        "The encrypted image cannot be decrypted: its envelope is damaged, for somebody else or of another image."
        "The message says which. `help imgdecrypt` shows how images are encrypted.";
    CertificateImage "certificate-image"
        "There is no certificate in the image that could be read, or no room for another one."
        "Certificates are PEM, or one in DER; `certfree` makes room.";
    AutobootNothing "autoboot-nothing"
        "The DHCP server names nothing to boot."
        "Set the boot file name (option 67) or the root path (option 17) for this machine in the DHCP server.";
    SanDrive "san-drive"
        "The drive number is taken, or there is no such drive."
        "`sanhook --drive 0x81` takes another number; `sanunhook --drive 0x80` gives one back.";
    IscsiAuthentication "iscsi-authentication"
        "The target did not accept our user name and password."
        "`username` and `password` must be those of the target's CHAP account for this initiator name.";
    IscsiTargetUnproven "iscsi-target-unproven"
        "The target did not prove that it knows the secret of mutual CHAP. It may be an impostor."
        "`reverse-username` and `reverse-password` must be those that the target is configured with.";
    IscsiNoEntropy "iscsi-no-entropy"
        "Mutual CHAP needs an unpredictable challenge, and this machine has no source of randomness."
        "Give a virtual machine a virtio-rng device; on hardware, enable the firmware's random number generator.";
    IscsiTargetUnknown "iscsi-target-unknown"
        "The server has no target of this name, or does not show it to this initiator."
        "Compare the target name letter by letter; look at the target's access list for the initiator name that the message gives.";
    IscsiRefused "iscsi-refused"
        "The target ended the login for another reason, which the message gives."
        "The target's log says more.";
    IscsiProtocol "iscsi-protocol"
        "What the server sent is not iSCSI, or breaks its rules."
        "Is it an iSCSI target that listens on this port?";
    IscsiTimeout "iscsi-timeout"
        "The target accepted the connection, but did not answer the login in time."
        "The target may be overloaded or its storage hang: look at its log.";
    DiskNoUnit "disk-no-unit"
        "The target has no logical unit of this number, or it is not a disk."
        "The fourth field of the root path is the unit in hexadecimal: tgt begins at 1, others at 0.";
    DiskNotReady "disk-not-ready"
        "The disk did not become ready."
        "The target's storage may be starting or missing: look at its log.";
    DiskUnsupported "disk-unsupported"
        "The disk has a block size that no firmware here can use."
        "Block lengths of 512 and 4096 bytes work.";
    DiskError "disk-error"
        "The disk reported an error; the message has its sense data in words."
        "The target's log and the health of its storage say more.";
    DiskProtocol "disk-protocol"
        "The disk answered something else than what was asked."
        "Report it together with the name and version of the target.";
    DiskOther "disk-other"
        "A path leads to another disk than the one that was found first, so nothing is read or written there."
        "Name paths to one disk only. After a change on the server, compare the disk's serial number or identifier there with what the message says.";
    DiskLost "disk-lost"
        "The session to the target broke and could not be made again by any path, or a command was not answered."
        "Look at the network and at the target's log; then boot again. `san-retries` says how often each path is tried.";
    DiskNoFileSystem "disk-no-file-system"
        "The firmware finds no file system on the disk."
        "The disk needs a GPT with an EFI system partition formatted as FAT.";
    DiskNoFile "disk-no-file"
        "No file system of the disk has the file."
        "Paths use backslashes: `--filename \\EFI\\debian\\grubaa64.efi`. Is it the right processor's file?";
    Firmware "firmware"
        "The firmware refused a call that the loader needs."
        "Report it together with the firmware's name and version, which the banner shows.";
    Packed "packed"
        "The configuration packed into the loader cannot be read."
        "Pack it again with the `bowline` of the same release.";
}

impl Code {
    /// The code of this printed name.
    pub(crate) fn find(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/errors.md` is what this module says, word for word; the table is copied by
    /// `UPDATE_DOCS=1 cargo test -p bowline-boot errors_page`.
    #[test]
    fn errors_page_agrees_with_the_code() {
        extern crate std;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let mut page = String::from(HEAD);
        for code in Code::ALL {
            page += &format!("\n## {code}\n\n{}\n\n{}\n", code.meaning(), code.advice());
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == page,
            "docs/errors.md is out of date: run with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn codes_are_distinct() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::find(code.slug()), Some(*code));
            assert!(
                !Code::ALL[index + 1..]
                    .iter()
                    .any(|other| other.slug() == code.slug())
            );
        }
    }

    const HEAD: &str = "# Error codes of the loader\n\n\
        Every failure at the console ends with a code in brackets. The loader explains a code \
        itself: `help dhcp-no-answer`. Codes are stable: scripts find the last one in \
        `${errno}`.\n\n\
        This page is made from `crates/boot/src/failure.rs` by \
        `UPDATE_DOCS=1 cargo test -p bowline-boot errors_page`.\n";
}
