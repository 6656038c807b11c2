//! What a server was told to run while it was running, for when it is started again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::{self, Lock};
use super::{InUse, Registry, Result, UPGRADED};

/// A runtime, and what says that it is the one to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The directory of its image; in `upgraded.json` below that of the store, if it is there.
    pub(crate) image: PathBuf,
    /// What tells the runtime of the store from others, if the store is to have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stored: Option<String>,
    /// Where the bundle is in which it came, if servers that share the storage can fetch it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bundle: Option<String>,
    /// Which stays there as long as somebody may run it.
    #[serde(skip)]
    pub(crate) in_use: Option<Arc<InUse>>,
}

/// `upgraded.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upgraded {
    /// What the server was started with, if it was told what to run. Who is started with something else is told something newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) named: Option<String>,
    /// What it runs.
    pub(crate) running: Choice,
    /// What it ran before, and goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Choice>,
}

impl Choice {
    pub(crate) fn new(image: PathBuf, stored: Option<String>, bundle: Option<String>) -> Self {
        // Two ways to say where an image is are to be the same.
        let image = std::path::absolute(&image).unwrap_or(image);
        let in_use = InUse::new(&image).map(Arc::new);
        Self { image, stored, bundle, in_use }
    }
}

impl Registry {
    /// What the server on this store was told last, if its runtime was ever changed.
    pub(crate) fn upgraded(&self) -> Result<Option<Upgraded>> {
        let Some(_lock) = Lock::shared(&self.root)? else { return Ok(None) };
        let found: Option<Upgraded> = files::read_json(&self.root.join(UPGRADED))?;
        let absolute = |it: Choice| Choice::new(self.root.join(it.image), it.stored, it.bundle);
        Ok(found.map(|it| Upgraded {
            running: absolute(it.running),
            previous: it.previous.map(absolute),
            named: it.named,
        }))
    }

    /// Has servers that are started on this store know it.
    pub(crate) fn remember(&self, upgraded: Upgraded) -> Result<()> {
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let below = |it: Choice| Choice {
            image: it.image.strip_prefix(&root).map(Path::to_owned).unwrap_or(it.image),
            ..it
        };
        let upgraded = Upgraded {
            running: below(upgraded.running),
            previous: upgraded.previous.map(below),
            named: upgraded.named,
        };
        let _lock = Lock::exclusive(&self.root)?;
        files::write_json(&self.root.join(UPGRADED), &upgraded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_moves_with_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| directory.path().join(name));
        let store = Registry::new(&here);
        assert_eq!(store.upgraded().unwrap(), None);
        let choice = |image: PathBuf| Choice::new(image, Some("1".to_owned()), None);
        let upgraded = |root: &Path| Upgraded {
            named: Some("x".to_owned()),
            running: choice(root.join("runtimes/1")),
            previous: Some(choice("/else/where".into())),
        };
        store.remember(upgraded(&here)).unwrap();
        assert_eq!(store.upgraded().unwrap(), Some(upgraded(&here)));
        std::fs::rename(&here, &there).unwrap();
        assert_eq!(Registry::new(&there).upgraded().unwrap(), Some(upgraded(&there)));
    }
}
