//! The boot menu of a PXE server (PXE 2.1 table 2-1): items of which each stands for a type of boot
//! server, and a prompt.

use crate::limits;
use crate::wire::{Options, code};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// A boot menu. It has an item at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootMenu {
    /// The items in their order; the first is the default.
    pub items: Vec<BootMenuItem>,
    /// What is shown first.
    pub prompt: Option<BootMenuPrompt>,
}

/// An item of a boot menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootMenuItem {
    /// The type of the boot server that is asked for; 0 is whatever the machine boots without.
    pub server_type: u16,
    /// What it is called.
    pub text: String,
}

/// What is shown before a boot menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootMenuPrompt {
    /// The words.
    pub text: String,
    /// How long F8 is waited for before the first item is taken; without end where there is none.
    pub timeout: Option<Duration>,
}

impl BootMenu {
    /// The menu in the sub-options of option 43, if there is one. An item that is cut off at the
    /// end is left out.
    #[must_use]
    pub fn parse(vendor: &Options) -> Option<Self> {
        let mut rest = vendor.get(code::PXE_BOOT_MENU)?;
        let mut items = Vec::new();
        while let [high, low, length, tail @ ..] = rest {
            let Some((text, next)) = tail.split_at_checked(usize::from(*length)) else {
                break;
            };
            if items.len() < limits::MENU_ITEMS_MAX {
                items.push(BootMenuItem {
                    server_type: u16::from_be_bytes([*high, *low]),
                    text: readable(text),
                });
            }
            rest = next;
        }
        let prompt = match vendor.get(code::PXE_MENU_PROMPT) {
            Some([timeout, text @ ..]) => Some(BootMenuPrompt {
                text: readable(text),
                timeout: (*timeout != FOR_EVER).then(|| Duration::from_secs((*timeout).into())),
            }),
            _ => None,
        };
        (!items.is_empty()).then_some(Self { items, prompt })
    }
}

/// Without what moves the cursor of a terminal.
fn readable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|it| !it.is_control()).collect()
}

/// The timeout that never ends.
const FOR_EVER: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    fn parse(menu: &str, prompt: &str) -> Option<BootMenu> {
        let options = [(9, menu), (10, prompt)];
        let is_there = |(_, value): &(u8, &str)| !value.is_empty();
        let options = options.into_iter().filter(is_there);
        BootMenu::parse(&options.map(|(code, value)| (code, hex(value))).collect())
    }

    fn item(server_type: u16, text: &str) -> BootMenuItem {
        let text = text.into();
        BootMenuItem { server_type, text }
    }

    #[test]
    fn items_and_prompt() {
        // Types 0x8000 "One" and 0 "Disk"; "Go" for 5 s.
        let menu = parse("8000 03 4f6e65  0000 04 4469736b", "05 476f").unwrap();
        assert_eq!(menu.items, [item(0x8000, "One"), item(0, "Disk")]);
        let prompt = menu.prompt.unwrap();
        let expected = ("Go", Some(Duration::from_secs(5)));
        assert_eq!((prompt.text.as_str(), prompt.timeout), expected);
        let menu = parse("0001 00", "ff").unwrap();
        assert_eq!(menu.items, [item(1, "")]);
        assert_eq!(menu.prompt.unwrap().timeout, None);
        assert_eq!(parse("0001 00", "").unwrap().prompt, None);
    }

    #[test]
    fn what_is_no_menu_and_what_is_cut_off() {
        assert_eq!(parse("", "05 476f"), None);
        assert_eq!(parse("8000", ""), None);
        assert_eq!(parse("8000 05 4f6e65", ""), None);
        let menu = parse("8000 03 4f6e65  0001 09 44", "").unwrap();
        assert_eq!(menu.items, [item(0x8000, "One")]);
        // No terminal is told to do anything.
        let menu = parse("8000 04 1b5b6341", "").unwrap();
        assert_eq!(menu.items, [item(0x8000, "[cA")]);
        let many = "0001 00 ".repeat(200);
        assert_eq!(
            parse(&many, "").unwrap().items.len(),
            limits::MENU_ITEMS_MAX
        );
    }
}
