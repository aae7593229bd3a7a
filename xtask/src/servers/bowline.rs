//! Our own server, and its `bowline.toml`.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Servers, Setup, machine};
use crate::netns::SERVER;
use crate::pki::{self, Https};
use crate::qemu::mac;
use crate::scenario::target;
use crate::sh;

impl Servers {
    pub(super) fn start_bowline(&mut self, setup: &Setup<'_>) -> Result<()> {
        let config = setup.folder.join("bowline.toml");
        if setup.conformance {
            make_conformance_disks(setup.folder)?;
        }
        fs::write(&config, bowline_toml(setup))?;
        let program = setup
            .bowline
            .as_ref()
            .context("bowline has not been built")?;
        sh::run(
            Command::new(program)
                .args(["check", "--config"])
                .arg(&config),
        )
        .context("`bowline check` does not like the configuration of the test")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "info");
        self.spawn("bowline", setup.folder, &mut command)
    }
}

/// The addresses of a service as `bowline.toml` lists them.
fn listen(addresses: &[String], port: u16) -> String {
    let quoted: Vec<_> = addresses
        .iter()
        .map(|address| format!("\"{address}:{port}\""))
        .collect();
    format!("listen = [{}]", quoted.join(", "))
}

/// The table of our own server for HTTPS.
fn bowline_https(setup: &Setup<'_>, (https, files): (Https, &pki::Files)) -> String {
    let mut table = format!(
        "[https]\n{}\nroot = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        listen(&setup.places.http, 443),
        setup.files.display(),
        files.server.display(),
        files.server_key.display()
    );
    if https.wants_client {
        table += &format!(
            "client-ca = \"{}\"\nclient-auth = \"required\"\n",
            files.client_root.display()
        );
    }
    table + "\n"
}

/// The configuration of our own server.
pub(super) fn bowline_toml(setup: &Setup<'_>) -> String {
    let dhcp = if setup.dhcp {
        format!(
            "[dhcp]\ninterface = \"{interface}\"\nserver = \"{SERVER}\"\nsubnet = \"192.168.1.0/24\"\n\
             pool = [\"192.168.1.100-192.168.1.199\"]\nlease = \"1h\"\nrouter = \"{SERVER}\"\n\
             dns = [\"{SERVER}\"]\nnext-server = \"{SERVER}\"\nfilename = \"bowline.efi\"\n\n\
             {hosts}\n",
            interface = setup.places.dhcp,
            hosts = [1, 2].map(dhcp_host).concat(),
        )
    } else {
        String::new()
    };
    let https = setup.https.map(|https| bowline_https(setup, https));
    let mut text = format!(
        "state = \"{state}\"\n\n{dhcp}{https}\
         [http]\n{http}\nroot = \"{files}\"\n\n\
         [iscsi]\n{iscsi}\n\n\
         {target}",
        https = https.unwrap_or_default(),
        http = listen(&setup.places.http, 80),
        iscsi = listen(&setup.places.iscsi, 3260),
        state = setup.folder.join("state").display(),
        files = setup.files.display(),
        target = iscsi_target(&setup.access.target, setup, setup.disk),
    );
    let more: &[_] = if setup.conformance {
        &CONFORMANCE_DISKS
    } else {
        &[]
    };
    for (lun, key) in more {
        let file = setup.folder.join(format!("lun{lun}.img"));
        text.push_str(&format!(
            "\n[[iscsi.target.lun]]\nlun = {lun}\nfile = \"{}\"\n{key}\n",
            file.display()
        ));
    }
    for (lun, file) in setup.formats.iter().flat_map(|formats| formats.files()) {
        text.push_str(&format!(
            "\n[[iscsi.target.lun]]\nlun = {lun}\nfile = \"{}\"\n",
            file.display()
        ));
    }
    if let Some(disk) = &setup.neighbour {
        text.push('\n');
        text.push_str(&iscsi_target(&target(2), setup, disk));
    }
    text
}

/// A machine's reservation.
fn dhcp_host(number: u8) -> String {
    format!(
        "[[dhcp.host]]\nmac = \"{}\"\naddress = \"{}\"\nhostname = \"node{number}\"\n\n",
        mac(number),
        machine(number)
    )
}

/// A target with one disk, LUN 1.
fn iscsi_target(name: &str, setup: &Setup<'_>, disk: &Path) -> String {
    let access = setup.access;
    format!(
        "[[iscsi.target]]\nname = \"{name}\"\n\
         chap = {{ username = \"{user}\", password = \"{password}\", \
         mutual-username = \"{mutual}\", mutual-password = \"{secret}\" }}\n\n\
         [[iscsi.target.lun]]\nlun = 1\nfile = \"{disk}\"\nblock-size = {block_size}\n",
        block_size = setup.block_size,
        user = access.username,
        password = access.password,
        mutual = access.mutual_username,
        secret = access.mutual_password,
        disk = disk.display(),
    )
}

/// Disks besides the first, for families of conformance tests that need them.
const CONFORMANCE_DISKS: [(u8, &str); 4] = [
    (2, "removable = true"),
    (3, "read-only = true"),
    (4, "block-size = 4096"),
    (5, "physical-block-size = 512"),
];
/// EXTENDED COPY is tried with 256 MiB from one half to the other.
const CONFORMANCE_DISK_BYTES: u64 = 640 << 20;

/// Makes the images of those disks.
fn make_conformance_disks(folder: &Path) -> Result<()> {
    for (lun, _) in CONFORMANCE_DISKS {
        let file = File::create(folder.join(format!("lun{lun}.img")))?;
        file.set_len(CONFORMANCE_DISK_BYTES)?;
    }
    Ok(())
}
