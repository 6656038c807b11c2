//! Which runtimes are in use: their directories are locked, by any number of processes at a time, and removed by who can lock them alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, io};
use super::{Registry, Result, UPGRADED};

/// Keeps a directory from being removed as long as this lives. The system forgets it with the process.
#[derive(Debug)]
pub(crate) struct InUse(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl InUse {
    /// Waits for who is just removing the directory. `None` if it is gone, or where nothing can be locked.
    pub(crate) fn new(directory: &Path) -> Option<Self> {
        let file = File::open(directory).ok()?;
        file.lock_shared().ok()?;
        Some(Self(file))
    }
}

/// Two descriptions of the same runtime are the same, whoever has them.
impl PartialEq for InUse {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for InUse {}

/// What of `upgraded.json` names runtimes, which need not be in use while no server runs.
#[derive(Deserialize)]
struct Upgraded {
    running: Runtime,
    previous: Option<Runtime>,
}

#[derive(Deserialize)]
struct Runtime {
    image: PathBuf,
}

impl Registry {
    /// Removes the runtimes that are not of these names, that no server goes back to when it is started again, and that nobody uses. The store's lock must be held, under which names of
    /// runtimes become runtimes in use.
    pub(super) fn remove_unused_runtimes(&self, kept: &[&str]) -> Result<()> {
        let runtimes = self.root.join("runtimes");
        files::remove_temporary(&runtimes)?;
        let upgraded: Option<Upgraded> = files::read_json(&self.root.join(UPGRADED))?;
        let remembered: Vec<PathBuf> = upgraded
            .into_iter()
            .flat_map(|it| [Some(it.running), it.previous])
            .flatten()
            .map(|it| it.image)
            .collect();
        let is_kept = |name: &String| {
            kept.contains(&name.as_str()) || remembered.iter().any(|it| it.file_name() == Some(name.as_ref()))
        };
        for name in files::names(&runtimes)?.iter().filter(|name| !is_kept(name)) {
            let directory = runtimes.join(name);
            let file = File::open(&directory).map_err(io("open", &directory))?;
            if file.try_lock().is_err() {
                continue;
            }
            // Half a runtime must not have the name of one.
            let gone = files::temporary_directory(&runtimes)?;
            fs::rename(&directory, gone.path().join("old")).map_err(io("remove", &directory))?;
            gone.close().map_err(io("remove", &directory))?;
        }
        Ok(())
    }
}
