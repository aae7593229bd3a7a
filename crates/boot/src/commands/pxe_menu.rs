//! The boot menu that a PXE server sends (PXE 2.1 table 2-1): `autoboot` shows it, as iPXE does.

use alloc::format;
use alloc::string::String;

use bowline_dhcp::client::{BootMenu, BootMenuItem, BootMenuPrompt};
use bowline_dhcp::wire::code;

use crate::console::full_screen;
use crate::console::menu::Menu;
use crate::dhcp::vendor_options;
use crate::dynamic_ui::{DynamicUi, Item};
use crate::failure::Failure;
use crate::interface::Interface;
use crate::machine::Machine;
use crate::platform::Key;

/// The menu of the DHCP or proxyDHCP server of a card, unless it says that its file is to be booted
/// at once.
pub(super) fn of(machine: &Machine, interface: &Interface) -> Option<BootMenu> {
    // Option 43 has other meanings to other vendors.
    let is_pxe = ["dhcp", "proxydhcp"].iter().any(|scope| {
        let name = format!("{}/{}", interface.scope(scope), code::VENDOR_CLASS);
        let class = machine.settings.borrow().bytes(&name);
        class.is_some_and(|class| class.starts_with(b"PXEClient"))
    });
    let vendor = vendor_options(machine, interface);
    let control = vendor.get(code::PXE_DISCOVERY_CONTROL).unwrap_or_default();
    let is_skipped = control.last().is_some_and(|it| it & BOOT_FILE_AT_ONCE != 0)
        && machine.setting("filename").is_some();
    BootMenu::parse(&vendor).filter(|_| is_pxe && !is_skipped)
}

/// The type of the boot server that is to be asked: of the first item, or of one that is chosen after
/// F8.
pub(super) async fn choose(machine: &Machine, menu: &BootMenu) -> Result<u16, Failure> {
    let first = menu.items.first().map_or(0, |item| item.server_type);
    let Some(prompt) = &menu.prompt else {
        return Ok(first);
    };
    if !wants_menu(machine, prompt).await? {
        return Ok(first);
    }
    let ui = DynamicUi {
        title: prompt.text.clone(),
        items: menu.items.iter().zip(0..).map(item).collect(),
        ..DynamicUi::default()
    };
    let chosen = full_screen::run(machine, &mut Menu::new(&ui, 0, None, None)).await;
    let chosen = chosen.ok_or_else(|| Failure::cancelled().shown())?;
    Ok(menu
        .items
        .get(chosen)
        .map_or(first, |item| item.server_type))
}

/// Each item has a letter, as in iPXE.
fn item((item, index): (&BootMenuItem, u32)) -> Item {
    Item {
        name: Some(String::new()),
        text: item.text.clone(),
        key: Some(u32::from('a') + index).filter(|key| *key <= u32::from('z')),
        ..Item::default()
    }
}

/// Shows the prompt; whether F8 was pressed in time. Without end of the time there is no prompt, and
/// with no time at all neither.
async fn wants_menu(machine: &Machine, prompt: &BootMenuPrompt) -> Result<bool, Failure> {
    let Some(timeout) = prompt.timeout else {
        return Ok(true);
    };
    if timeout.is_zero() {
        return Ok(false);
    }
    let console = machine.platform.console();
    console.write(&format!(
        "{} (F8: menu, {} s)",
        prompt.text,
        timeout.as_secs()
    ));
    let until = machine.now().saturating_add(timeout);
    let wants_menu = loop {
        match machine.executor.until(until, machine.keyboard.read()).await {
            None => break Ok(false),
            Some(Key::F8) => break Ok(true),
            Some(Key::Char('\x03' | '\x1b')) => break Err(Failure::cancelled().shown()),
            Some(_) => {}
        }
    };
    console.write("\n");
    wants_menu
}

/// A bit of the discovery control: what is named is booted, without menu and discovery.
const BOOT_FILE_AT_ONCE: u8 = 8;

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::String;
    use core::time::Duration;

    use bowline_dhcp::wire::{Options, code};

    use crate::platform::Key;
    use crate::testing::servers::{boot_server, dhcp_server_with};
    use crate::testing::{TestPlatform, run_on, script};

    const PAGES: crate::testing::servers::Pages = &[
        ("/s", b"#!ipxe\necho from the boot server\n"),
        ("/boot.ipxe", b"#!ipxe\necho from the DHCP server\n"),
    ];

    /// The items "Disk" (type 0), "Rescue" (5) and "None" (6).
    const MENU: &[u8] = b"\0\0\x04Disk\0\x05\x06Rescue\0\x06\x04None";

    /// The console of autoboot with a menu, this prompt, discovery control and vendor class.
    fn console(menu: &[u8], prompt: &[u8], control: u8, keys: &[Key]) -> (String, Duration) {
        let platform = TestPlatform::with_network(PAGES);
        let options = [
            (code::PXE_DISCOVERY_CONTROL, &[control][..]),
            (code::PXE_BOOT_SERVERS, &[0, 5, 1, 192, 168, 1, 1]),
            (code::PXE_BOOT_MENU, menu),
            (code::PXE_MENU_PROMPT, prompt),
        ];
        let vendor = options.into_iter().filter(|(_, value)| !value.is_empty());
        let vendor = vendor.map(|(code, value)| (code, value.to_vec()));
        platform.dhcp.replace(Some(dhcp_server_with(|options| {
            options.set(code::VENDOR_CLASS, b"PXEClient");
            options.set_encapsulated(code::VENDOR_SPECIFIC, &vendor.collect::<Options>());
        })));
        let server = platform.server.clone().unwrap();
        let task = Box::pin(boot_server(server, 5));
        platform.tasks.borrow_mut().push(task);
        for key in keys {
            platform.press_at(Duration::from_secs(1), *key);
        }
        let lines = ["autoboot || echo ${errno}", "echo back", "exit"];
        let (platform, _) = run_on(platform, &script(&lines));
        let output = platform.output.borrow().clone();
        (output, platform.elapsed())
    }

    const RESCUE_FIRST: &[u8] = b"\0\x05\x06Rescue\0\0\x04Disk";

    #[test]
    fn the_first_item_is_booted_after_the_prompt() {
        let (output, took) = console(RESCUE_FIRST, b"\x03Press F8", 0, &[]);
        assert!(output.contains("\nPress F8 (F8: menu, 3 s)\n"), "{output}");
        assert!(output.contains("from the boot server\n"), "{output}");
        assert!((3..5).contains(&took.as_secs()), "{took:?}");
        // Without a prompt, or without time for one, at once.
        for prompt in [&b""[..], b"\0Press F8"] {
            let (output, took) = console(RESCUE_FIRST, prompt, 0, &[]);
            assert!(output.contains("from the boot server\n"), "{output}");
            assert!(!output.contains("F8"), "{output}");
            assert!(took.as_secs() < 2, "{took:?}");
        }
    }

    #[test]
    fn f8_shows_the_menu() {
        let keys = [Key::F8, Key::Down, Key::Char('\r')];
        let (output, _) = console(MENU, b"\x05Press F8", 0, &keys);
        for words in ["Disk", "Rescue", "None", "from the boot server\n"] {
            assert!(output.contains(words), "{words}: {output}");
        }
        // A time without end shows it at once; letters choose.
        let (output, _) = console(MENU, b"\xffChoose", 0, &[Key::Char('b')]);
        assert!(output.contains("from the boot server\n"), "{output}");
    }

    #[test]
    fn item_zero_is_no_boot_server_and_escape_is_a_failure() {
        let (output, _) = console(MENU, b"\x01Press F8", 0, &[]);
        assert!(output.ends_with("\nback\n"), "{output}");
        assert!(!output.contains("from the"), "{output}");
        let (output, _) = console(MENU, b"\x05Press F8", 0, &[Key::Char('\x1b')]);
        assert!(output.ends_with("cancelled\nback\n"), "{output}");
        let (output, _) = console(MENU, b"\x05Press F8", 0, &[Key::F8, Key::Char('\x1b')]);
        assert!(output.ends_with("cancelled\nback\n"), "{output}");
    }

    #[test]
    fn a_server_may_want_its_file_booted_without_a_menu() {
        let (output, _) = console(MENU, b"\x05Press F8", 8, &[]);
        assert!(!output.contains("F8"), "{output}");
        assert!(output.contains("boot.ipxe"), "{output}");
    }
}
