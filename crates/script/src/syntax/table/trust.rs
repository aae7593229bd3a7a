//! Whose word is taken: signatures of images, and certificates.

use super::parts::{NAME, QUIET, TIMEOUT, between, command, exactly};
use crate::syntax::{CommandSpec, OptionSpec, ValueKind};

pub(super) const IMGTRUST: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "allow",
            short: 'a',
            value: ValueKind::Flag,
            help: "run any image again",
        },
        OptionSpec {
            long: "permanent",
            short: 'p',
            value: ValueKind::Flag,
            help: "nothing can change that until the machine is restarted",
        },
    ],
    details: "Scripts and programs that were not verified by `imgverify` are not run then. What \
              is not run is not asked: initial RAM disks, and what `sanboot` starts from a disk.",
    ..command("imgtrust", "Run only images whose signature was verified")
};

pub(super) const IMGVERIFY: CommandSpec = CommandSpec {
    options: &[
        OptionSpec {
            long: "signer",
            short: 's',
            value: ValueKind::Text("name"),
            help: "this one must have signed: the common name or a DNS name of its certificate",
        },
        OptionSpec {
            help: "do not forget the signature afterwards",
            ..KEEP
        },
        TIMEOUT,
        QUIET,
    ],
    arguments: exactly("<image> <signature>", 2),
    details: "The signature is a CMS file of its own in DER (RFC 5652), with SHA-256 or better, as \
              of: openssl cms -sign -binary -md sha256 -in <image> -signer code.pem -inkey \
              code.key -outform DER -out <signature>. The certificate must be for code signing \
              (extended key usage), and its chain must end in the trust that was packed into the \
              loader.",
    ..command("imgverify", "Verify the signature of an image")
};

pub(super) const IMGDECRYPT: CommandSpec = CommandSpec {
    options: &[
        NAME,
        OptionSpec {
            help: "do not forget the envelope afterwards",
            ..KEEP
        },
        TIMEOUT,
        QUIET,
    ],
    arguments: exactly("<image> <envelope>", 2),
    details: "The envelope is a CMS file of its own in DER (RFC 5083) for the RSA key of the client \
              certificate that was packed into the loader: openssl cms -encrypt -binary \
              -aes-256-gcm -in <file> -recip client.pem -outform DER makes image and envelope in \
              one, and iPXE's cmsdetach takes them apart. Without --name the new image is called as \
              the encrypted one without its ending.",
    ..command(
        "imgdecrypt",
        "Decrypt an image that is for this machine alone",
    )
};

pub(super) const CERTSTAT: CommandSpec = CommandSpec {
    options: &[SUBJECT, KEEP, TIMEOUT, QUIET],
    arguments: between("[<uri|image>]", 0, 1),
    details: "Name, SHA-256 and standing: TRUSTED was packed or is the firmware's, CLIENT is what \
              the loader shows to servers that ask, STORED came by `certstore`.",
    ..command("certstat", "Show the certificates that the loader knows")
};

pub(super) const CERTSTORE: CommandSpec = CommandSpec {
    options: &[SUBJECT, KEEP, TIMEOUT, QUIET],
    arguments: exactly("<uri|image>", 1),
    details: "Certificates in PEM or one in DER. They are not trusted: they fill the gap between a \
              server's or signer's certificate and a trusted one, where that does not come along.",
    ..command("certstore", "Keep intermediate certificates")
};

pub(super) const CERTFREE: CommandSpec = CommandSpec {
    options: &[SUBJECT, KEEP, TIMEOUT, QUIET],
    arguments: between("[<uri|image>]", 0, 1),
    details: "Those that were packed stay.",
    ..command("certfree", "Forget what `certstore` kept")
};

const SUBJECT: OptionSpec = OptionSpec {
    long: "subject",
    short: 's',
    value: ValueKind::Text("name"),
    help: "only those about this name",
};

const KEEP: OptionSpec = OptionSpec {
    long: "keep",
    short: 'k',
    value: ValueKind::Flag,
    help: "do not forget the image afterwards",
};
