//! Menus and forms: menu, form, item, choose, present, login; and their colours: colour, cpair,
//! console.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bowline_script::syntax::Matches;
use zeroize::Zeroize as _;

use super::{Action, action};
use crate::console::ansi::Colour;
use crate::console::form::{Field, Form};
use crate::console::full_screen;
use crate::console::menu::Menu;
use crate::console::palette::{COLOURS, nearest};
use crate::dynamic_ui::{DynamicUi, Item};
use crate::failure::{Code, Failure};
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[
    action!("choose", choose),
    action!("colour", set_colour),
    action!("console", set_up_console),
    action!("cpair", set_pair),
    action!("form", begin),
    action!("item", add_item),
    action!("login", login),
    action!("menu", begin),
    action!("present", present),
];

async fn begin(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = arguments.text("name");
    let mut uis = machine.dynamic_uis.borrow_mut();
    if arguments.flag("delete") {
        uis.remove(name);
        return Ok(());
    }
    let title = arguments.joined(0);
    let title = if title.is_empty() {
        DEFAULT_TITLE.into()
    } else {
        title
    };
    uis.begin(name, title)
}

async fn add_item(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let is_gap = arguments.flag("gap");
    let item = Item {
        name: arguments.argument(0).filter(|_| !is_gap).map(String::from),
        text: arguments.joined(usize::from(!is_gap)),
        key: arguments.key("key"),
        is_default: arguments.flag("default"),
        is_secret: arguments.flag("secret"),
    };
    let ui = arguments.text("menu").or(arguments.text("form"));
    machine.dynamic_uis.borrow_mut().add_item(ui, item)
}

async fn choose(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let name = arguments.text("menu");
    let ui = take(machine, name, arguments.flag("keep"))?;
    let selected = first_selected(&ui, arguments.text("default"))?;
    let time = |option| arguments.duration(option).filter(|time| !time.is_zero());
    let until = time("timeout").map(|timeout: Duration| machine.now().saturating_add(timeout));
    let mut menu = Menu::new(&ui, selected, until, time("retimeout"));
    let chosen = full_screen::run(machine, &mut menu).await;
    let chosen = chosen.ok_or_else(|| Failure::cancelled().shown())?;
    let chosen = ui.items.get(chosen).and_then(|item| item.name.as_deref());
    store(
        machine,
        arguments.argument(0).unwrap_or_default(),
        chosen.unwrap_or_default(),
    )
}

/// The item that a menu begins with.
fn first_selected(ui: &DynamicUi, asked: Option<&str>) -> Result<usize, Failure> {
    let position = |matches: &dyn Fn(&Item) -> bool| {
        ui.items
            .iter()
            .position(|item| item.name.is_some() && matches(item))
    };
    let asked = asked.and_then(|asked| position(&|item| item.name.as_deref() == Some(asked)));
    asked
        .or_else(|| position(&|item| item.is_default))
        .or_else(|| position(&|_| true))
        .ok_or_else(|| Failure::new(Code::MenuUnknown, "the menu has no item to choose"))
}

async fn present(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let ui = take(machine, arguments.text("form"), arguments.flag("keep"))?;
    let field = |item: &Item| match &item.name {
        None => Field::heading(&item.text),
        Some(name) => {
            let mut value = machine.settings.borrow().text(name).unwrap_or_default();
            let field = Field::new(&item.text, &value, item.is_secret);
            value.zeroize();
            field
        }
    };
    let mut form = Form::new(&ui.title, ui.items.iter().map(field).collect());
    if let Some(active) = ui.items.iter().position(|item| item.is_default) {
        form.activate(active);
    }
    let texts = full_screen::run(machine, &mut form).await;
    let texts = texts.ok_or_else(|| Failure::cancelled().shown())?;
    for (item, mut text) in ui.items.iter().zip(texts) {
        let stored = item
            .name
            .as_deref()
            .map_or(Ok(()), |name| store(machine, name, &text));
        text.zeroize();
        stored?;
    }
    Ok(())
}

async fn login(machine: &Machine, _: Matches) -> Result<(), Failure> {
    let value = |name| machine.settings.borrow().text(name).unwrap_or_default();
    let (name, mut password) = (value("username"), value("password"));
    let fields = vec![
        Field::new("Username", &name, false),
        Field::new("Password", &password, true),
    ];
    password.zeroize();
    let mut form = Form::new("Login", fields);
    let texts: Option<Vec<String>> = full_screen::run(machine, &mut form).await;
    let texts = texts.ok_or_else(|| Failure::cancelled().shown())?;
    for (name, mut text) in ["username", "password"].into_iter().zip(texts) {
        let stored = store(machine, name, &text);
        text.zeroize();
        stored?;
    }
    Ok(())
}

async fn set_colour(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let colour = match (arguments.number("basic"), arguments.number("rgb")) {
        (Some(9), _) | (None, None) => Colour::Default,
        (Some(basic), _) => match u8::try_from(basic) {
            Ok(basic @ 0..=7) => Colour::Basic(basic),
            _ => return Err(usage(format!("--basic is 0 to 7 or 9, not {basic}"))),
        },
        (None, Some(rgb)) => match u32::try_from(rgb) {
            Ok(rgb) => nearest(rgb),
            Err(_) => return Err(usage(format!("--rgb is 0xRRGGBB, not {rgb:#x}"))),
        },
    };
    let number = number(&arguments, "colour")?;
    if machine.palette.borrow_mut().set_colour(number, colour) {
        Ok(())
    } else {
        Err(usage(format!(
            "colours are 0 to {}, not {number}",
            COLOURS - 1
        )))
    }
}

async fn set_pair(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let colour = |option| match arguments.number(option).map(u8::try_from) {
        None => Ok(None),
        Some(Ok(colour)) if usize::from(colour) < COLOURS => Ok(Some(colour)),
        Some(_) => Err(usage(format!("--{option} is 0 to {}", COLOURS - 1))),
    };
    let (foreground, background) = (colour("foreground")?, colour("background")?);
    let number = number(&arguments, "pair")?;
    let mut palette = machine.palette.borrow_mut();
    if palette.set_pair(number, foreground, background) {
        Ok(())
    } else {
        Err(usage(format!("pairs are 0 to 7, not {number}")))
    }
}

/// The firmware's console is text: there is nothing to set up.
async fn set_up_console(_: &Machine, _: Matches) -> Result<(), Failure> {
    Ok(())
}

/// The menu or form of this name, which is forgotten unless it is to be kept.
fn take(machine: &Machine, name: Option<&str>, keep: bool) -> Result<DynamicUi, Failure> {
    let mut uis = machine.dynamic_uis.borrow_mut();
    let ui = uis.find(name)?.clone();
    if !keep {
        uis.remove(name);
    }
    Ok(ui)
}

fn store(machine: &Machine, setting: &str, value: &str) -> Result<(), Failure> {
    let stored = machine.settings.borrow_mut().set(setting, value);
    stored.map_err(|error| Failure::new(Code::SettingName, format!("{setting}: {error}")))
}

fn number(arguments: &Matches, what: &str) -> Result<i64, Failure> {
    let text = arguments.argument(0).unwrap_or_default();
    bowline_script::parse_integer(text)
        .ok_or_else(|| usage(format!("`{text}` is not the number of a {what}")))
}

fn usage(message: String) -> Failure {
    Failure::new(Code::CommandUsage, message)
}

/// Of a menu that was given none.
const DEFAULT_TITLE: &str = "Bowline";
