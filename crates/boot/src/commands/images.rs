//! Commands on images: imgfetch, imgselect (kernel), imgexec (chain, boot), imgargs, imgstat,
//! imgfree.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bowline_script::syntax::Matches;

use super::{Action, Flow, action};
use crate::console::pager;
use crate::failure::{Code, Failure};
use crate::fetch;
use crate::images::{Format, Image};
use crate::initrd;
use crate::machine::Machine;
use crate::platform::Program;
use crate::script::{self, Ending};

pub(super) const ACTIONS: &[Action] = &[
    action!("imgargs", set_arguments),
    Action {
        name: "imgexec",
        run: |machine, arguments| Box::pin(execute(machine, arguments)),
    },
    action!("imgfetch", fetch_image),
    action!("imgfree", free),
    action!("imgselect", select),
    action!("imgstat", statistics),
];

async fn fetch_image(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    download(machine, Order::of(&arguments), first(&arguments))
        .await
        .map(drop)
}

async fn select(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = acquire(machine, &arguments, first(&arguments)).await?;
    let mut images = machine.images.borrow_mut();
    // What cannot be run is told now, and not by `boot`.
    images
        .find(&name)
        .map_or(Ok(()), |it| it.format().map(drop))?;
    images.select(&name);
    Ok(())
}

/// Also none: `imgargs IMAGE` takes them away.
async fn set_arguments(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = acquire(machine, &arguments, first(&arguments)).await?;
    if let Some(image) = machine.images.borrow_mut().find_mut(&name) {
        image.arguments = arguments.joined(1);
    }
    Ok(())
}

/// `imgexec`, `chain`, `boot`: with `--replace` the image takes the place of the script.
async fn execute(machine: &Machine, arguments: Matches) -> Result<Flow, Failure> {
    let name = match arguments.argument(0) {
        Some(text) => acquire(machine, &arguments, text).await?,
        None => {
            let images = machine.images.borrow();
            images.selected()?.name.clone()
        }
    };
    if arguments.flag("replace") {
        return Ok(Flow::Replace(name));
    }
    script::run_image(machine, &name).await?;
    Ok(Flow::Next)
}

async fn statistics(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let list: String = {
        let images = machine.images.borrow();
        for name in arguments.arguments() {
            images.find(name).ok_or_else(|| images.unknown(name))?;
        }
        let named = |image: &&Image| {
            arguments.arguments().is_empty() || arguments.arguments().contains(&image.name)
        };
        let lines = images.iter().filter(named);
        lines
            .map(|image| {
                let is_trusted = machine.image_trust.borrow().is_trusted(&image.data);
                describe(image, images.is_selected(image), is_trusted) + "\n"
            })
            .collect()
    };
    pager::print(machine, &list).await;
    Ok(())
}

/// A line as iPXE has it: `vmlinuz : 1234 bytes [EFI] [SELECTED] "quiet"`.
fn describe(image: &Image, is_selected: bool, is_trusted: bool) -> String {
    let kind = match image.format() {
        Ok(Format::Script) => " [script]",
        Ok(Format::EfiProgram) => " [EFI]",
        Err(_) => "",
    };
    let selected = if is_selected { " [SELECTED]" } else { "" };
    let trusted = if is_trusted { " [TRUSTED]" } else { "" };
    let free = if image.free_after_use {
        " [AUTOFREE]"
    } else {
        ""
    };
    let (name, length) = (&image.name, image.data.len());
    let line = format!("{name} : {length} bytes{kind}{selected}{free}{trusted}");
    if image.arguments.is_empty() {
        line
    } else {
        format!("{line} \"{}\"", image.arguments)
    }
}

async fn free(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let mut images = machine.images.borrow_mut();
    if arguments.arguments().is_empty() {
        images.clear();
    }
    for name in arguments.arguments() {
        if !images.remove(name) {
            return Err(images.unknown(name));
        }
    }
    Ok(())
}

/// Runs an image: the ending of a script, or none of a program.
pub(crate) async fn start(machine: &Machine, name: &str) -> Result<Option<Ending>, Failure> {
    let (format, data, uri, arguments, free, initrd) = {
        let images = machine.images.borrow();
        let image = images.find(name).ok_or_else(|| images.unknown(name))?;
        let initrd = if initrd::suits(image) {
            initrd::for_kernel(&images, name)?
        } else {
            Vec::new()
        };
        (
            image.format()?,
            Rc::clone(&image.data),
            image.uri.clone(),
            image.arguments.clone(),
            image.free_after_use,
            initrd,
        )
    };
    machine.image_trust.borrow().check(name, &data)?;
    if free {
        machine.images.borrow_mut().remove(name);
    }
    match format {
        Format::Script => script::run_script(machine, name, &data, uri)
            .await
            .map(Some),
        Format::EfiProgram => {
            machine.say(format!("Starting {name}"));
            let platform = &machine.platform;
            let tree = machine.device_tree.borrow().clone();
            if let Some(tree) = &tree {
                platform.replace_device_tree(Some(tree))?;
            }
            let program = Program {
                image: &data,
                name,
                load_options: &arguments,
                initrd,
                card: machine.last_opened().map(|card| card.stack().mac()),
            };
            let started = machine.executor.outside(|| platform.start_image(program));
            if tree.is_some() {
                platform.replace_device_tree(None)?;
            }
            started.map_err(|error| Failure::from(error).within(name))?;
            Ok(None)
        }
    }
}

/// How an image is fetched and what becomes of it.
#[derive(Default)]
pub(super) struct Order {
    /// What to call it, else by its URI.
    pub(super) name: Option<String>,
    /// How long it may take.
    pub(super) limit: Option<Duration>,
    pub(super) is_quiet: bool,
    /// Forgotten once it has run.
    pub(super) free_after_use: bool,
    /// What it is started with.
    pub(super) arguments: String,
}

impl Order {
    /// What the options of the imgfetch family say.
    fn of(arguments: &Matches) -> Self {
        Self {
            name: arguments.text("name").map(String::from),
            limit: arguments.duration("timeout"),
            is_quiet: arguments.flag("quiet"),
            free_after_use: arguments.flag("autofree"),
            arguments: arguments.joined(1),
        }
    }
}

/// The image of this name, else the one that is downloaded from this URI. What it is started with
/// is replaced only if something is given, except by `imgargs`.
async fn acquire(machine: &Machine, arguments: &Matches, text: &str) -> Result<String, Failure> {
    if let Some(image) = machine.images.borrow_mut().find_mut(text) {
        if arguments.argument(1).is_some() {
            image.arguments = arguments.joined(1);
        }
        image.free_after_use |= arguments.flag("autofree");
        return Ok(String::from(text));
    }
    download(machine, Order::of(arguments), text).await
}

/// The image of this name, as it is, else the one that is downloaded from this URI.
pub(super) async fn acquire_plain(
    machine: &Machine,
    order: Order,
    text: &str,
) -> Result<String, Failure> {
    if machine.images.borrow().find(text).is_some() {
        return Ok(String::from(text));
    }
    download(machine, order, text).await
}

pub(super) async fn download(
    machine: &Machine,
    order: Order,
    text: &str,
) -> Result<String, Failure> {
    let uri = machine.absolute_uri(text)?;
    let parameters = machine.take_request(&uri)?;
    let name = order.name.or_else(|| uri.file_name());
    let name = name
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| uri.to_string());
    let progress = machine.progress(uri.to_string(), order.is_quiet);
    let fetching = fetch::fetch(machine, &uri, parameters, &progress);
    let fetched = match order.limit.filter(|limit| !limit.is_zero()) {
        None => fetching.await,
        Some(limit) => {
            let until = machine.now().saturating_add(limit);
            let fetched = machine.executor.until(until, fetching).await;
            fetched.unwrap_or_else(|| Err(too_slow(limit)))
        }
    };
    let end = |verdict: &str| {
        progress.end(verdict);
        if !order.is_quiet {
            machine.syslog.send(&format!("{uri}... {verdict}"));
        }
    };
    let (data, final_uri) = match fetched {
        Ok(fetched) => fetched,
        Err(failure) => {
            end(&failure.to_string());
            return Err(if order.is_quiet {
                failure.within(&uri)
            } else {
                failure.within(&uri).shown()
            });
        }
    };
    end("ok");
    let image = Image {
        name: name.clone(),
        uri: Some(final_uri),
        data: data.into(),
        arguments: order.arguments,
        free_after_use: order.free_after_use,
    };
    machine.images.borrow_mut().add(image);
    Ok(name)
}

fn too_slow(limit: Duration) -> Failure {
    let message = format!("not finished in {} ms (--timeout)", limit.as_millis());
    Failure::new(Code::ConnectTimeout, message)
}

fn first(arguments: &Matches) -> &str {
    arguments.argument(0).unwrap_or_default()
}
