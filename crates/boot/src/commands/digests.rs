//! Commands on the bytes of images: md5sum to sha512sum, imgextract, imgset, fdt.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use bowline_script::syntax::Matches;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::images::{Order, acquire_plain};
use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::images::Image;
use crate::machine::Machine;
use crate::unpack::unpack;

pub(super) const ACTIONS: &[Action] = &[
    action!("fdt", choose_device_tree),
    action!("imgextract", extract),
    action!("imgset", store_image),
    action!("md5sum", digest::<Md5>),
    action!("sha1sum", digest::<Sha1>),
    action!("sha224sum", digest::<Sha224>),
    action!("sha256sum", digest::<Sha256>),
    action!("sha384sum", digest::<Sha384>),
    action!("sha512sum", digest::<Sha512>),
];

/// `<digest>  <name>`, as the programs of these names print it.
async fn digest<D: Digest>(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for text in arguments.arguments() {
        let name = acquire_plain(machine, Order::default(), text).await?;
        let hash = D::digest(&*data(machine, &name)?);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let Some(setting) = arguments.text("set") else {
            machine.say(format!("{digits}  {name}"));
            continue;
        };
        let typed = if setting.contains(':') {
            String::from(setting)
        } else {
            format!("{setting}:hexraw")
        };
        let stored = machine
            .settings
            .borrow_mut()
            .set_bytes(&typed, hash.to_vec());
        stored.map_err(|error| wrong(setting, &error))?;
    }
    Ok(())
}

async fn extract(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let packed = acquire_plain(machine, order(&arguments), argument(&arguments, 0)).await?;
    let unpacked = unpack(&data(machine, &packed)?).map_err(|failure| failure.within(&packed))?;
    let name = match arguments.text("name") {
        Some(name) => String::from(name),
        None => unpacked_name(&packed),
    };
    let (start_with, is_selected) = {
        let images = machine.images.borrow();
        let image = images
            .find(&packed)
            .ok_or_else(|| images.unknown(&packed))?;
        (image.arguments.clone(), images.is_selected(image))
    };
    let mut images = machine.images.borrow_mut();
    if !arguments.flag("keep") {
        images.remove(&packed);
    }
    images.add(Image {
        name: name.clone(),
        uri: None,
        data: unpacked.into(),
        arguments: start_with,
        free_after_use: false,
    });
    if is_selected {
        images.select(&name);
    }
    Ok(())
}

async fn store_image(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let setting = argument(&arguments, 0);
    let name = acquire_plain(machine, order(&arguments), argument(&arguments, 1)).await?;
    let bytes: Vec<u8> = data(machine, &name)?.to_vec();
    let stored = machine.settings.borrow_mut().set_bytes(setting, bytes);
    stored.map_err(|error| wrong(setting, &error))?;
    if !arguments.flag("keep") {
        machine.images.borrow_mut().remove(&name);
    }
    Ok(())
}

async fn choose_device_tree(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let tree = match arguments.argument(0) {
        None => None,
        Some(text) => {
            let name = acquire_plain(machine, order(&arguments), text).await?;
            let tree = data(machine, &name)?;
            // Now, and not when the operating system is about to start, is the time to say no.
            let tried = machine.platform.replace_device_tree(Some(&tree));
            tried
                .and_then(|()| machine.platform.replace_device_tree(None))
                .map_err(|error| Failure::from(error).within(name))?;
            Some(tree)
        }
    };
    machine.device_tree.replace(tree);
    Ok(())
}

fn order(arguments: &Matches) -> Order {
    Order {
        limit: arguments.duration("timeout"),
        is_quiet: arguments.flag("quiet"),
        ..Order::default()
    }
}

fn data(machine: &Machine, name: &str) -> Result<Rc<Vec<u8>>, Failure> {
    let images = machine.images.borrow();
    let image = images.find(name).ok_or_else(|| images.unknown(name))?;
    Ok(Rc::clone(&image.data))
}

fn unpacked_name(packed: &str) -> String {
    let stem = [".gz", ".z", ".zz"]
        .iter()
        .find_map(|ending| packed.strip_suffix(ending))
        .filter(|stem| !stem.is_empty());
    stem.map_or_else(|| format!("{packed}.unpacked"), String::from)
}

fn argument(arguments: &Matches, index: usize) -> &str {
    arguments.argument(index).unwrap_or_default()
}

fn wrong(setting: &str, error: &bowline_script::SettingError) -> Failure {
    Failure::new(Code::SettingName, format!("{setting}: {error}"))
}
