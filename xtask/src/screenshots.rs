//! `cargo xtask screenshots`: the pictures that the README shows, as a machine's screen shows them.

use std::fs;

use anyhow::{Result, ensure};

use crate::e2e;
use crate::run;
use crate::workspace::Workspace;

/// The folder of scenarios that take pictures.
const FOLDER: &str = "screenshots";

/// More than this a picture may not have: everybody who clones the repository gets it.
const MAX_BYTES: u64 = 40_000;

/// Runs the scenarios and puts their pictures into `docs/pictures`.
pub(crate) fn take(workspace: &Workspace) -> Result<()> {
    let instances = e2e::select(&workspace.e2e(), FOLDER, &[])?;
    e2e::prepare(workspace, &instances)?;
    let outcomes = e2e::run_all(workspace, FOLDER, &instances, 1)?;
    ensure!(
        e2e::table(&outcomes) == 0,
        "not all pictures could be taken"
    );
    let pictures = workspace.root.join("docs/pictures");
    fs::create_dir_all(&pictures)?;
    for instance in &instances {
        let folder = run::folder(workspace, &instance.name);
        for name in instance
            .steps
            .iter()
            .filter_map(|step| step.screen.as_ref())
        {
            let file = format!("{name}.png");
            let size = fs::copy(folder.join(&file), pictures.join(&file))?;
            ensure!(
                size < MAX_BYTES,
                "{file} has {size} bytes, more than {MAX_BYTES}"
            );
            println!("docs/pictures/{file}: {size} bytes");
        }
    }
    Ok(())
}
