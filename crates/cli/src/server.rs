//! `bowline serve` and `bowline check`.

use std::path::Path;

use anyhow::Context as _;
use bowline_server::Config;
use bowline_server::http::ClientAuth;

/// Runs the services of the configuration at `path`.
pub(crate) fn serve(path: &Path) -> anyhow::Result<()> {
    let loaded = Config::load(path)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(bowline_server::serve(path, loaded.config));
    // Reads of a disk that hangs must not keep the process from ending.
    runtime.shutdown_background();
    Ok(result?)
}

/// Says whether the configuration at `path` could be served, and what it would serve.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let loaded = Config::load(path)?;
    for warning in &loaded.warnings {
        eprintln!("{warning} (warning)");
    }
    let addresses = |list: &[std::net::SocketAddr]| {
        list.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    println!("{}: ok", path.display());
    if let Some(dhcp) = &loaded.config.dhcp {
        println!("  dhcp on {}: as {}", dhcp.interface, dhcp.server.server);
        for subnet in &dhcp.server.subnets {
            let pools: Vec<_> = subnet.pools.iter().map(ToString::to_string).collect();
            let pools = if pools.is_empty() {
                "no pool".into()
            } else {
                pools.join(", ")
            };
            let hosts = dhcp.server.hosts.len();
            println!(
                "    {}/{}: {pools}; {hosts} hosts",
                subnet.network, subnet.prefix_len
            );
        }
    }
    if let Some(http) = &loaded.config.http {
        println!(
            "  http on {}: files below {}",
            addresses(&http.listen),
            http.root.display()
        );
    }
    if let Some(https) = &loaded.config.https {
        println!(
            "  https on {}: files below {}",
            addresses(&https.listen),
            https.root.display()
        );
        if let Some(tls) = &https.tls {
            let clients = match tls.files.clients {
                ClientAuth::None => "not asked for",
                ClientAuth::Optional { .. } => "optional",
                ClientAuth::Required { .. } => "required",
            };
            println!(
                "    as {} until {}; client certificates: {clients}",
                tls.credentials.names().join(", "),
                tls.credentials.last_day()
            );
        }
    }
    if let Some(iscsi) = &loaded.config.iscsi {
        println!("  iscsi on {}:", addresses(&iscsi.listen));
        for target in &iscsi.targets {
            let chap = match &target.chap {
                None => "anybody",
                Some(chap) if chap.mutual.is_none() => "CHAP",
                Some(_) => "mutual CHAP",
            };
            println!("    {} ({chap})", target.name);
            for lun in &target.luns {
                let mode = if lun.read_only { ", read-only" } else { "" };
                println!("      LUN {}: {}{mode}", lun.lun, lun.file.display());
            }
        }
    }
    Ok(())
}
