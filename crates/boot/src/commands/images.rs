//! Commands on images: imgfetch, imgselect (kernel), imgexec (chain, boot), imgargs, imgstat,
//! imgfree.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::time::Duration;

use bowline_script::syntax::Matches;

use super::{Action, Flow, action};
use crate::failure::{Code, Failure};
use crate::fetch;
use crate::images::{Format, Image};
use crate::machine::Machine;
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
    download(machine, &arguments, first(&arguments))
        .await
        .map(drop)
}

async fn select(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = acquire(machine, &arguments, first(&arguments)).await?;
    machine.images.borrow_mut().select(&name);
    Ok(())
}

async fn set_arguments(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    acquire(machine, &arguments, first(&arguments))
        .await
        .map(drop)
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
    let images = machine.images.borrow();
    for name in arguments.arguments() {
        images.find(name).ok_or_else(|| images.unknown(name))?;
    }
    let named = |image: &&Image| {
        arguments.arguments().is_empty() || arguments.arguments().contains(&image.name)
    };
    for image in images.iter().filter(named) {
        let kind = match image.format() {
            Ok(Format::Script) => "script",
            Ok(Format::EfiProgram) => "EFI program",
            Err(_) => "unknown format",
        };
        let selected = if images.is_selected(image) {
            ", selected"
        } else {
            ""
        };
        let line = format!(
            "{}: {} bytes, {kind}{selected}",
            image.name,
            image.data.len()
        );
        machine.say(if image.arguments.is_empty() {
            line
        } else {
            format!("{line}, arguments `{}`", image.arguments)
        });
    }
    Ok(())
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
    let (format, data, uri, arguments, free) = {
        let images = machine.images.borrow();
        let image = images.find(name).ok_or_else(|| images.unknown(name))?;
        let parts = (image.format()?, Rc::clone(&image.data), image.uri.clone());
        (
            parts.0,
            parts.1,
            parts.2,
            image.arguments.clone(),
            image.free_after_use,
        )
    };
    if free {
        machine.images.borrow_mut().remove(name);
    }
    match format {
        Format::Script => script::run_script(machine, name, &data, Some(uri))
            .await
            .map(Some),
        Format::EfiProgram => {
            machine.say(format!("Starting {name}"));
            let started = machine
                .executor
                .outside(|| machine.platform.start_image(&data, &arguments));
            started.map_err(|error| Failure::from(error).within(name))?;
            Ok(None)
        }
    }
}

/// The image of this name, else the one that is downloaded from this URI.
async fn acquire(machine: &Machine, arguments: &Matches, text: &str) -> Result<String, Failure> {
    if let Some(image) = machine.images.borrow_mut().find_mut(text) {
        image.arguments = arguments.joined(1);
        image.free_after_use |= arguments.flag("autofree");
        return Ok(String::from(text));
    }
    download(machine, arguments, text).await
}

async fn download(machine: &Machine, arguments: &Matches, text: &str) -> Result<String, Failure> {
    let uri = machine.absolute_uri(text)?;
    let name = arguments
        .text("name")
        .map(String::from)
        .or_else(|| uri.file_name());
    let name = name
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| uri.to_string());
    let limit = arguments
        .duration("timeout")
        .filter(|timeout| !timeout.is_zero());
    let progress = machine.progress(uri.to_string(), arguments.flag("quiet"));
    let fetching = fetch::fetch(machine, &uri, &progress);
    let fetched = match limit {
        None => fetching.await,
        Some(limit) => {
            let until = machine.now().saturating_add(limit);
            let fetched = machine.executor.until(until, fetching).await;
            fetched.unwrap_or_else(|| Err(too_slow(limit)))
        }
    };
    let (data, final_uri) = match fetched {
        Ok(fetched) => fetched,
        Err(failure) => {
            let is_quiet = arguments.flag("quiet");
            progress.end(&failure.to_string());
            return Err(if is_quiet {
                failure.within(&uri)
            } else {
                failure.within(&uri).shown()
            });
        }
    };
    progress.end("ok");
    let image = Image {
        name: name.clone(),
        uri: final_uri,
        data: data.into(),
        arguments: arguments.joined(1),
        free_after_use: arguments.flag("autofree"),
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
