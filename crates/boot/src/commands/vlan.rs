//! Commands on VLANs (IEEE 802.1Q): vcreate, vdestroy.

use alloc::format;
use alloc::rc::Rc;

use bowline_net::VlanTag;
use bowline_script::syntax::Matches;

use super::net::one;
use super::{Action, action};
use crate::failure::{Code, Failure};
use crate::interface::Interface;
use crate::machine::Machine;
use crate::startup;

pub(super) const ACTIONS: &[Action] = &[action!("vcreate", create), action!("vdestroy", destroy)];

/// As in iPXE, making a VLAN that is there only changes its priority.
async fn create(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let trunk = one(machine, arguments.argument(0).unwrap_or_default())?;
    let tag = tag(&arguments)?;
    let name = format!("{}-{}", trunk.name(), tag.id());
    let interfaces = machine.network.interfaces();
    if let Some(there) = interfaces.iter().find(|it| it.name() == name) {
        there.stack().set_tag(tag);
        return Ok(());
    }
    let seed = startup::seed(&*machine.platform, trunk.stack().mac());
    let stack = trunk.stack().on_vlan(tag, seed).ok_or_else(|| {
        let message = format!(
            "{} is a VLAN itself, and there is none inside another",
            trunk.name()
        );
        Failure::new(Code::CommandUsage, message)
    })?;
    machine.executor.add_stack(stack.clone());
    let interface = Rc::new(Interface::new(name, stack));
    interface.register(&mut machine.settings.borrow_mut());
    machine.network.add(interface);
    Ok(())
}

async fn destroy(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let interface = one(machine, arguments.argument(0).unwrap_or_default())?;
    if interface.stack().vlan().is_none() {
        let message = format!("{} is no VLAN", interface.name());
        return Err(Failure::new(Code::CommandUsage, message));
    }
    interface.unregister(&mut machine.settings.borrow_mut());
    interface.stack().leave_vlan();
    machine.executor.remove_stack(interface.stack());
    machine.network.remove(&interface);
    Ok(())
}

fn tag(arguments: &Matches) -> Result<VlanTag, Failure> {
    let usage = |message| Failure::new(Code::CommandUsage, message);
    let id = arguments.number("tag");
    let id = id.ok_or_else(|| usage("which VLAN? --tag is a number from 1 to 4094"))?;
    let priority = arguments.number("priority").unwrap_or(0);
    u16::try_from(id)
        .ok()
        .zip(u8::try_from(priority).ok())
        .and_then(|(id, priority)| VlanTag::new(id, priority))
        .ok_or_else(|| usage("--tag is a number from 1 to 4094, --priority one from 0 to 7"))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::net::Ipv4Addr;

    use bowline_net::{Ipv4Config, VlanTag};

    use crate::testing::{TestPlatform, run_on, script, servers};

    /// A machine whose server has web pages in VLAN 2 only, as 10.0.2.1.
    fn console(lines: &[&str]) -> String {
        let platform = TestPlatform::with_network(&[]);
        let server = platform.server.clone().unwrap();
        let far = server.on_vlan(VlanTag::new(2, 0).unwrap(), 1).unwrap();
        let config = Ipv4Config {
            address: Ipv4Addr::new(10, 0, 2, 1),
            prefix_len: 24,
            router: None,
            dns: alloc::vec![],
            mtu: None,
        };
        far.configure_ipv4(Some(config)).unwrap();
        let pages = servers::http_server(&far, &[("/a", b"#!ipxe\necho over VLAN\nexit\n")]);
        platform.tasks.borrow_mut().push(pages);
        platform.vlan.replace(Some(far));
        let (platform, _) = run_on(platform, &script(lines));
        platform.output.borrow().clone()
    }

    #[test]
    fn a_vlan_is_an_interface_with_its_own_address_and_route() {
        let output = console(&[
            "dhcp net0",
            "vcreate --tag 2 --priority 5 net0",
            "vcreate --tag 2 netX",
            "set net0-2/ip 10.0.2.50",
            "ifopen net0-2",
            "echo ${net0-2/mac} ${netX/ip}",
            "ifstat netX",
            "route",
            "chain http://10.0.2.1/a",
            "vdestroy net0-2",
            "show net0-2/ip ||",
            "ifstat net0-2 ||",
            "chain http://10.0.2.1/a ||",
            "exit",
        ]);
        for line in [
            "52:54:00:12:34:56 10.0.2.50\n",
            "net0-2: 52:54:00:12:34:56, VLAN 2, link up, open\n  net0-2: 10.0.2.50/24 gw none\n",
            "net0: 192.168.1.0/24 direct\n",
            "net0-2: 10.0.2.0/24 direct\n",
            "http://10.0.2.1/a... ok",
            "over VLAN\n",
            "ifstat: no network card net0-2; there are: net0 [",
            "http://10.0.2.1/a... connection to 10.0.2.1:80 timed out",
        ] {
            assert!(output.contains(line), "no `{line}` in\n{output}");
        }
    }

    #[test]
    fn wrong_vlans_are_refused_in_words() {
        let output = console(&[
            "vcreate net0 ||",
            "vcreate --tag 4095 net0 ||",
            "vcreate --tag 2 --priority 8 net0 ||",
            "vcreate --tag 2 net7 ||",
            "vcreate --tag 2 net0",
            "vcreate --tag 3 net0-2 ||",
            "vdestroy net0 ||",
            "exit",
        ]);
        for line in [
            "vcreate: which VLAN? --tag is a number from 1 to 4094 [",
            "vcreate: --tag is a number from 1 to 4094, --priority one from 0 to 7 [",
            "vcreate: no network card net7; there are: net0 [",
            "vcreate: net0-2 is a VLAN itself, and there is none inside another [",
            "vdestroy: net0 is no VLAN [",
        ] {
            assert!(output.contains(line), "no `{line}` in\n{output}");
        }
    }
}
