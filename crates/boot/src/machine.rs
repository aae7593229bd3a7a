//! What the loader knows: cards, settings, images, drives, and the URI that relative ones start
//! from. Shared by all commands; every borrow ends before the next await.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use bowline_net::http;
use bowline_script::{Settings, Uri};

use crate::console::keyboard::Keyboard;
use crate::console::palette::Palette;
use crate::console::progress::Progress;
use crate::dynamic_ui::DynamicUis;
use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::image_trust::ImageTrust;
use crate::images::Images;
use crate::interface::Interface;
use crate::network::Network;
use crate::parameters::{ParameterLists, Request};
use crate::platform::Platform;
use crate::san::Drives;
use crate::scopes;
use crate::secure::{self, Security};
use crate::syslog::Syslog;

/// The state of a run.
pub(crate) struct Machine {
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) executor: Rc<Executor>,
    pub(crate) keyboard: Keyboard,
    pub(crate) settings: RefCell<Settings>,
    pub(crate) network: Network,
    /// Where the console's lines go besides.
    pub(crate) syslog: Syslog,
    /// Connections to web servers that the next download may use.
    pub(crate) connections: http::Pool<secure::Transport>,
    /// Trust, identity and time for `https`.
    pub(crate) security: Rc<Security>,
    pub(crate) images: RefCell<Images>,
    /// Which of them may be run.
    pub(crate) image_trust: RefCell<ImageTrust>,
    /// The device tree for the next operating system, where it is not the firmware's.
    pub(crate) device_tree: RefCell<Option<Rc<Vec<u8>>>>,
    pub(crate) drives: Drives,
    /// Menus and forms that scripts are putting together.
    pub(crate) dynamic_uis: RefCell<DynamicUis>,
    /// What the next requests carry.
    pub(crate) parameters: RefCell<ParameterLists>,
    /// The colours of menus and forms.
    pub(crate) palette: RefCell<Palette>,
    /// Lines typed at the prompt, oldest first.
    pub(crate) history: RefCell<Vec<String>>,
    /// A person typed the line that is being run.
    pub(crate) at_prompt: Cell<bool>,
    /// What the last shell was left with, until another command runs.
    pub(crate) left_shell: Cell<Option<i32>>,
    /// Scripts that chain scripts.
    pub(crate) script_depth: Cell<usize>,
    working_uri: RefCell<Option<Uri>>,
    /// The state of the settings that the cards were last configured from.
    applied_generation: Cell<Option<u64>>,
}

impl Machine {
    pub(crate) fn new(platform: Rc<dyn Platform>, executor: Rc<Executor>) -> Self {
        let machine = Self {
            keyboard: Keyboard::new(Rc::clone(&platform), Rc::clone(&executor)),
            settings: RefCell::new(Settings::new()),
            connections: http::Pool::default(),
            security: Rc::new(Security::new()),
            images: RefCell::default(),
            image_trust: RefCell::default(),
            device_tree: RefCell::default(),
            drives: Drives::default(),
            dynamic_uis: RefCell::default(),
            parameters: RefCell::default(),
            palette: RefCell::default(),
            history: RefCell::default(),
            at_prompt: Cell::new(false),
            left_shell: Cell::new(None),
            script_depth: Cell::new(0),
            working_uri: RefCell::default(),
            applied_generation: Cell::new(None),
            syslog: Syslog::default(),
            network: Network::new(&executor.stacks()),
            platform,
            executor,
        };
        machine.store_identity();
        machine
    }

    pub(crate) fn now(&self) -> Duration {
        self.executor.now()
    }

    /// The network card that was opened last (`netX`).
    pub(crate) fn last_opened(&self) -> Option<Rc<Interface>> {
        let name = self.settings.borrow().last_opened().map(String::from)?;
        self.network.find(&name).ok()
    }

    /// Prints a line.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        let text = format!("{line}\n");
        self.platform.console().write(&text);
        self.syslog.send(&text);
    }

    /// Begins a progress line.
    pub(crate) fn progress(&self, label: String, quiet: bool) -> Progress {
        Progress::begin(
            Rc::clone(&self.platform),
            Rc::clone(&self.executor),
            label,
            quiet,
        )
    }

    /// The text of a setting, where it has one.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.settings
            .borrow()
            .text(name)
            .filter(|text| !text.is_empty())
    }

    /// Configures the cards from `netN/ip` and so on, where the settings have changed.
    pub(crate) fn apply_network_settings(&self) {
        self.take_lease_news();
        let generation = self.settings.borrow().generation();
        if self.applied_generation.replace(Some(generation)) != Some(generation) {
            for interface in self.network.interfaces() {
                if let Err(error) = interface.configure_from(&self.settings.borrow()) {
                    self.say(format!("{}: {error}", interface.name()));
                }
            }
            self.network.set_search(self.search_domains());
            self.configure_syslog();
        }
    }

    fn configure_syslog(&self) {
        let address = |name| self.setting(name)?.parse().ok();
        let server = address("syslog").or_else(|| address("syslog6"));
        let host = self.setting("hostname").unwrap_or_default();
        self.syslog.configure(&self.network, server, &host);
    }

    /// The domains that names without a dot are looked up in.
    fn search_domains(&self) -> Vec<String> {
        let list = self.setting("dnssl").unwrap_or_default();
        let mut domains: Vec<String> = list.split_whitespace().map(String::from).collect();
        domains.extend(self.setting("domain"));
        domains
    }

    /// Renewed and lost leases, what routers say and who has our addresses, which comes while other commands run.
    fn take_lease_news(&self) {
        for interface in self.network.interfaces() {
            for line in interface.note_conflicts(self.now()) {
                self.say(line);
            }
            let mut settings = self.settings.borrow_mut();
            let stored = match interface.take_lease_news() {
                Some(news) => interface.store_lease(news.as_deref(), &mut settings),
                None => Ok(()),
            };
            let stored = stored.and_then(|()| interface.store_autoconfiguration(&mut settings));
            if let Err(error) = stored {
                self.say(format!("{}: {error}", interface.name()));
            }
        }
    }

    /// A URI as typed, made absolute by the running script's own.
    pub(crate) fn absolute_uri(&self, text: &str) -> Result<Uri, Failure> {
        let failure =
            |error: &dyn fmt::Display| Failure::new(Code::UriInvalid, format!("{text}: {error}"));
        match &*self.working_uri.borrow() {
            Some(base) => base.resolve(text).map_err(|error| failure(&error)),
            None => text.parse::<Uri>().map_err(|error| failure(&error)),
        }
    }

    /// The request that a URI ending in `##params` or `##params=<name>` stands for; the list of
    /// parameters is forgotten. None for any other URI.
    pub(crate) fn take_request(&self, uri: &Uri) -> Result<Option<Request>, Failure> {
        let Some(after) = uri.fragment().and_then(|text| text.strip_prefix("#params")) else {
            return Ok(None);
        };
        let name = match after.strip_prefix('=') {
            Some(name) => Some(name),
            None if after.is_empty() => None,
            None => return Ok(None),
        };
        self.parameters.borrow_mut().take(name).map(Some)
    }

    /// Makes `uri` the one that relative ones start from, as long as the result lives.
    pub(crate) fn work_from(&self, uri: Option<Uri>) -> WorkingUri<'_> {
        let before = self.replace_working_uri(uri);
        WorkingUri {
            machine: self,
            before,
        }
    }

    /// Notes a failure for `${errno}`, which names the last one until the next.
    pub(crate) fn note_failure(&self, failure: &Failure) {
        self.store_builtin("errno", failure.code().slug());
    }

    pub(crate) fn store_builtin(&self, name: &str, text: &str) {
        let bytes = text.as_bytes().to_vec();
        let stored = self
            .settings
            .borrow_mut()
            .set_bytes(&format!("builtin/{name}"), bytes);
        debug_assert!(stored.is_ok(), "{name} is a setting's name");
    }

    fn replace_working_uri(&self, uri: Option<Uri>) -> Option<Uri> {
        let text = uri.as_ref().map(|uri| format!("{uri}")).unwrap_or_default();
        self.store_builtin("cwuri", &text);
        let folder = uri.as_ref().and_then(|uri| uri.resolve(".").ok());
        let folder = folder.map(|uri| format!("{uri}")).unwrap_or_default();
        self.store_builtin("cwduri", &folder);
        self.working_uri.replace(uri)
    }

    /// Settings that the platform is asked for each time.
    fn register_computed(&self) {
        let (platform, security) = (Rc::clone(&self.platform), Rc::clone(&self.security));
        let time = move || {
            let network = security.network_time(&*platform).map(|time| time.0);
            let seconds = u32::try_from(network.or_else(|| platform.wall_clock())?).ok()?;
            Some(seconds.to_be_bytes().to_vec())
        };
        let platform = Rc::clone(&self.platform);
        let memory = move || {
            let regions = platform.memory_regions();
            let bytes: u64 = regions.iter().map(|region| region.end - region.start).sum();
            let mebibytes = u32::try_from(bytes >> 20).ok()?;
            (mebibytes > 0).then(|| mebibytes.to_be_bytes().to_vec())
        };
        let mut settings = self.settings.borrow_mut();
        let mut stored = settings
            .set_computed("builtin/unixtime", Rc::new(time))
            .and_then(|()| settings.set_computed("builtin/memsize", Rc::new(memory)))
            .and_then(|()| scopes::register(&mut settings, &self.platform));
        for (name, text) in scopes::TEXTS {
            let platform = Rc::clone(&self.platform);
            let computed = Rc::new(move || text(&*platform));
            stored = stored.and_then(|()| settings.set_computed(name, computed));
        }
        debug_assert!(stored.is_ok(), "these are names of settings");
    }

    fn store_identity(&self) {
        let identity = self.platform.identity();
        {
            let mut settings = self.settings.borrow_mut();
            for interface in self.network.interfaces() {
                interface.register(&mut settings);
                interface.register_location(&*self.platform, &mut settings);
            }
            let texts = [
                ("smbios/manufacturer", identity.manufacturer),
                ("smbios/product", identity.product),
                ("smbios/serial", identity.serial),
            ];
            for (name, text) in texts {
                if let Some(text) = text {
                    let stored = settings.set_bytes(name, text.into_bytes());
                    debug_assert!(stored.is_ok(), "{name} is a setting's name");
                }
            }
            if let Some(uuid) = identity.uuid {
                let stored = settings.set_bytes("smbios/uuid", uuid.to_vec());
                debug_assert!(stored.is_ok(), "uuid is a setting's name");
            }
        }
        self.register_computed();
        self.store_builtin("buildarch", identity.architecture);
        self.store_builtin("platform", "efi");
        self.store_builtin("version", env!("CARGO_PKG_VERSION"));
    }
}

/// Puts the URI of before back when the script that was worked from ends, however it ends.
pub(crate) struct WorkingUri<'m> {
    machine: &'m Machine,
    before: Option<Uri>,
}

impl Drop for WorkingUri<'_> {
    fn drop(&mut self) {
        self.machine.replace_working_uri(self.before.take());
    }
}
