//! Independent servers for the rest of the network: chrony for NTP, vsftpd for FTP, rpcbind and
//! nfs-ganesha for NFS, socklog for syslog.
//!
//! They are Debian's, unpacked and not installed, and find an `/etc` of their own, in which all
//! users are root. Those of NFS need the host's root: rpcbind gives up its groups, and nfs-ganesha
//! opens files by handle.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use crate::arch::Arch;
use crate::packages::{self, Packages};
use crate::sh;
use crate::unpacked::Unpacked;

/// What a server of this module serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    /// The host's own time.
    Ntp,
    /// The files, to anybody.
    Ftp,
    /// The files as `/mnt`.
    Nfs,
    /// A log, in which each line has the address that it came from.
    Syslog,
}

/// A server: its name, the command that starts it, and the TCP port that shows that it is there.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
    pub(crate) port: Option<u16>,
}

impl Service {
    /// Whether its servers do not run in a user namespace.
    pub(crate) fn needs_root(self) -> bool {
        self == Self::Nfs
    }

    /// Its servers, in the order in which they are started.
    pub(crate) fn servers(
        self,
        packages: &Packages,
        files: &Path,
        folder: &Path,
    ) -> Result<Vec<Server>> {
        let arch = Arch::host()?;
        let unpacked = Unpacked::open(packages, arch, packages::services(arch))?;
        let place = Place::make(files, folder)?;
        let server = |name, port, words: Vec<String>| Server {
            name,
            command: place.command(&words),
            port,
        };
        Ok(match self {
            Self::Ntp => vec![server("chronyd", None, chronyd(&unpacked, folder)?)],
            Self::Ftp => vec![server("vsftpd", Some(21), vsftpd(&unpacked, folder)?)],
            Self::Nfs => vec![
                server("rpcbind", Some(111), rpcbind(&unpacked)?),
                server("ganesha", Some(2049), ganesha(&unpacked, folder)?),
            ],
            Self::Syslog => vec![server("socklog", None, socklog(&unpacked)?)],
        })
    }
}

/// In the foreground, without touching the host's clock.
fn chronyd(unpacked: &Unpacked, folder: &Path) -> Result<Vec<String>> {
    let mut words = unpacked.words("sbin/chronyd")?;
    let pid_file = format!("pidfile {}", folder.join("chronyd.pid").display());
    words.extend(["-d", "-x", "-u", "root"].map(str::to_owned));
    words.extend(
        [
            "local stratum 5",
            "allow all",
            "cmdport 0",
            "bindcmdaddress /",
        ]
        .map(str::to_owned),
    );
    words.push(pid_file);
    Ok(words)
}

fn socklog(unpacked: &Unpacked) -> Result<Vec<String>> {
    let mut words = unpacked.words("sbin/socklog")?;
    words.extend(["inet", "0.0.0.0", "514"].map(str::to_owned));
    Ok(words)
}

fn vsftpd(unpacked: &Unpacked, folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("vsftpd.conf");
    // It must not change its user, and its filter of system calls is older than the library.
    let text = "listen=NO\nlisten_ipv6=YES\nbackground=NO\nrun_as_launching_user=YES\n\
                seccomp_sandbox=NO\nanonymous_enable=YES\nno_anon_password=NO\nanon_root=/mnt\n\
                local_enable=NO\n";
    fs::write(&config, text)?;
    let mut words = unpacked.words("sbin/vsftpd")?;
    words.push(config.display().to_string());
    Ok(words)
}

fn rpcbind(unpacked: &Unpacked) -> Result<Vec<String>> {
    let mut words = unpacked.words("sbin/rpcbind")?;
    words.push("-f".to_owned());
    Ok(words)
}

fn ganesha(unpacked: &Unpacked, folder: &Path) -> Result<Vec<String>> {
    let plugin = format!("lib/{}/ganesha/libfsalvfs.so", Arch::host()?.multiarch());
    let plugin = unpacked.find(&plugin)?;
    let plugins = plugin.parent().unwrap_or(&plugin).display();
    let config = folder.join("ganesha.conf");
    let text = format!(
        "NFS_CORE_PARAM {{ Protocols = 3; Enable_NLM = false; Enable_RQUOTA = false;\n\
         mount_path_pseudo = false; Plugins_Dir = \"{plugins}\"; }}\n\
         NFSv4 {{ UseGetpwnam = true; DomainName = \"example\"; RecoveryRoot = \"{folder}\"; }}\n\
         EXPORT {{ Export_Id = 1; Path = /mnt; Pseudo = /mnt; Access_Type = RO;\n\
         Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP;\n\
         PrivilegedPort = true; FSAL {{ Name = VFS; }} }}\n",
        folder = folder.display()
    );
    fs::write(&config, text)?;
    let mut words = unpacked.words("bin/ganesha.nfsd")?;
    let pid_file = folder.join("ganesha.pid");
    words.extend(["-F", "-L", "STDOUT", "-N", "NIV_EVENT", "-f"].map(str::to_owned));
    words.extend([
        config.display().to_string(),
        "-p".to_owned(),
        pid_file.display().to_string(),
    ]);
    Ok(words)
}

/// What the servers see of the host: an `/etc` and a `/run` of their own, and the files in `/mnt`.
struct Place {
    script: String,
}

impl Place {
    fn make(files: &Path, folder: &Path) -> Result<Self> {
        let (etc, run) = (folder.join("etc"), folder.join("run"));
        fs::create_dir_all(&etc)?;
        fs::create_dir_all(run.join("rpcbind"))?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
        for (name, text) in ETC {
            fs::write(etc.join(name), text)?;
        }
        let mounts = etc.join("mtab");
        if !mounts.is_symlink() {
            symlink("/proc/self/mounts", mounts)?;
        }
        let (etc, run, files) = (etc.display(), run.display(), files.display());
        let script = format!(
            "mount --bind '{files}' /mnt && mount --bind '{run}' /run && mount --bind '{etc}' /etc \
             && exec \"$@\""
        );
        Ok(Self { script })
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = sh::command("unshare");
        command.args(["--mount", "--", "sh", "-c", &self.script, "server"]);
        command.args(words);
        command
    }
}

/// Users that the servers look for, and the protocols of RPC (libtirpc).
const ETC: [(&str, &str); 5] = [
    (
        "passwd",
        "root:x:0:0::/:/bin/sh\n_rpc:x:0:0::/:/bin/sh\nftp:x:0:0::/mnt:/bin/sh\n\
         nobody:x:0:0::/:/bin/sh\n",
    ),
    ("group", "root:x:0:\nnogroup:x:0:\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    (
        "services",
        "sunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper\n",
    ),
    (
        "netconfig",
        "udp tpi_clts v inet udp - -\ntcp tpi_cots_ord v inet tcp - -\n\
         udp6 tpi_clts v inet6 udp - -\ntcp6 tpi_cots_ord v inet6 tcp - -\n\
         local tpi_cots_ord - loopback - - -\n",
    ),
];
