//! Whose word is taken, and what only we can read: imgtrust, imgverify, imgdecrypt, and the certificates that the loader knows (certstat,
//! certstore, certfree).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::syntax::Matches;
use bowline_tls::CertificateDer;
use bowline_tls::certificate::Certificate;
use bowline_tls::trust;

use super::images::{Order, acquire_plain};
use super::{Action, action};
use crate::certificates::Standing;
use crate::console::pager;
use crate::failure::{Code, Failure};
use crate::images::Image;
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[
    action!("certfree", forget_certificates),
    action!("certstat", show_certificates),
    action!("certstore", store_certificates),
    action!("imgdecrypt", decrypt),
    action!("imgtrust", require_trust),
    action!("imgverify", verify),
];

async fn require_trust(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let required = !arguments.flag("allow");
    let forever = arguments.flag("permanent");
    machine.image_trust.borrow_mut().require(required, forever)
}

/// An image that does not pass is not trusted any more, if it was.
async fn verify(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let (image, content) = bytes(machine, &arguments, 0).await?;
    let (name, signature) = bytes(machine, &arguments, 1).await?;
    if !arguments.flag("keep") {
        machine.images.borrow_mut().remove(&name);
    }
    // It takes long: what the cards hold back goes out before.
    machine.executor.settle();
    let signer = arguments.text("signer");
    let platform = &*machine.platform;
    let verdict = machine
        .security
        .verify_image(platform, &content, &signature, signer);
    let is_good = verdict.is_ok();
    machine.image_trust.borrow_mut().set(&content, is_good);
    let within = |failure: Failure| failure.within(format!("{image}, signature {name}"));
    let signers = verdict.map_err(within)?;
    machine.say(format!("{image} is signed by {}", signers.join(", ")));
    Ok(())
}

/// What was decrypted is a new image, and the encrypted one goes.
async fn decrypt(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let (image, content) = bytes(machine, &arguments, 0).await?;
    let (name, envelope) = bytes(machine, &arguments, 1).await?;
    if !arguments.flag("keep") {
        machine.images.borrow_mut().remove(&name);
    }
    // It takes long: what the cards hold back goes out before.
    machine.executor.settle();
    let mut content = content.to_vec();
    let opened = machine.security.open_image(&envelope, &mut content);
    opened.map_err(|failure| failure.within(format!("{image}, envelope {name}")))?;
    let plain = match arguments.text("name") {
        Some(name) => String::from(name),
        None => decrypted_name(&image),
    };
    let mut images = machine.images.borrow_mut();
    let arguments = images.find(&image).map(|image| image.arguments.clone());
    images.remove(&image);
    images.add(Image {
        name: plain,
        uri: None,
        data: content.into(),
        arguments: arguments.unwrap_or_default(),
        free_after_use: false,
    });
    Ok(())
}

/// Without its ending, as in `boot.ipxe.dat`.
fn decrypted_name(encrypted: &str) -> String {
    let stem = encrypted.rsplit_once('.').map(|(stem, _)| stem);
    let stem = stem.filter(|stem| !stem.is_empty());
    stem.map_or_else(|| format!("{encrypted}.decrypted"), String::from)
}

/// A line for each: whom it is about, its SHA-256, and what it is good for.
async fn show_certificates(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let wanted = wanted(machine, &arguments, 0).await?;
    let mut list = String::new();
    for (standing, der) in machine.security.certificates.list() {
        let Some(certificate) = Certificate::parse(&der).filter(|it| wanted.has(it, &der)) else {
            continue;
        };
        let fingerprint: String = certificate
            .fingerprint()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let subject = certificate.subject();
        list += &format!("{subject} : {fingerprint} [{standing}]\n");
    }
    pager::print(machine, &list).await;
    Ok(())
}

async fn store_certificates(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let wanted = wanted(machine, &arguments, 0).await?;
    for der in wanted.certificates.iter().flatten() {
        let certificate = Certificate::parse(der);
        if certificate.is_some_and(|certificate| wanted.has(&certificate, der)) {
            machine.security.certificates.store(der.clone())?;
        }
    }
    Ok(())
}

async fn forget_certificates(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let wanted = wanted(machine, &arguments, 0).await?;
    for (standing, der) in machine.security.certificates.list() {
        let certificate = Certificate::parse(&der);
        let is_wanted = certificate.is_some_and(|certificate| wanted.has(&certificate, &der));
        if standing == Standing::Stored && is_wanted {
            machine.security.certificates.forget(&der);
        }
    }
    Ok(())
}

/// Which certificates a command is about.
struct Wanted {
    subject: Option<String>,
    /// Those of an image, if one was named.
    certificates: Option<Vec<CertificateDer<'static>>>,
}

impl Wanted {
    fn has(&self, certificate: &Certificate<'_>, der: &CertificateDer<'_>) -> bool {
        let subject = self.subject.as_ref();
        subject.is_none_or(|subject| certificate.subject() == *subject)
            && self
                .certificates
                .as_ref()
                .is_none_or(|list| list.contains(der))
    }
}

async fn wanted(machine: &Machine, arguments: &Matches, index: usize) -> Result<Wanted, Failure> {
    let mut certificates = None;
    if arguments.argument(index).is_some() {
        let (name, data) = bytes(machine, arguments, index).await?;
        let found = trust::certificates(&data).and_then(|list| {
            let readable = |der: &CertificateDer<'_>| Certificate::parse(der).is_some();
            let bad = list.iter().position(|der| !readable(der));
            bad.map_or(Ok(list), |at| {
                Err(trust::PemError::Malformed { number: at + 1 })
            })
        });
        if !arguments.flag("keep") {
            machine.images.borrow_mut().remove(&name);
        }
        let unreadable = |error| Failure::new(Code::CertificateImage, format!("{name}: {error}"));
        certificates = Some(found.map_err(unreadable)?);
    }
    Ok(Wanted {
        subject: arguments.text("subject").map(String::from),
        certificates,
    })
}

/// Name and bytes of an image, which is fetched if there is none of that name.
async fn bytes(
    machine: &Machine,
    arguments: &Matches,
    index: usize,
) -> Result<(String, Rc<Vec<u8>>), Failure> {
    let order = Order {
        limit: arguments.duration("timeout"),
        is_quiet: arguments.flag("quiet"),
        ..Order::default()
    };
    let text = arguments.argument(index).unwrap_or_default();
    let name = acquire_plain(machine, order, text).await?;
    let images = machine.images.borrow();
    let image = images.find(&name).ok_or_else(|| images.unknown(&name))?;
    let data = Rc::clone(&image.data);
    Ok((name, data))
}
