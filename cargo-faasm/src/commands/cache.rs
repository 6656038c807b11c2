//! `cargo faasm cache`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use faasm_build_support::cache::{Cache, EntryUsage};
use serde_json::json;

use crate::cli::{self, CacheAction, Format};
use crate::shell::{self, Shell};
use crate::units::{show_age, show_size};

pub(super) fn run(shell: &Shell, arguments: &cli::Cache) -> anyhow::Result<ExitCode> {
    let cache = Cache::from_env()?;
    let format = arguments.message.format;
    match arguments.action.unwrap_or(CacheAction::List) {
        CacheAction::List => list(shell, format, &cache)?,
        CacheAction::Gc { older_than } => removed(shell, format, &cache.remove_unused(older_than)?)?,
        CacheAction::Clear => removed(shell, format, &cache.remove_all()?)?,
        CacheAction::Dir => match format {
            Format::Human => shell::data(format!("{}\n", cache.root().display()).as_bytes())?,
            Format::Json => shell::json(&json!({ "reason": "cache-directory", "path": cache.root() }))?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn list(shell: &Shell, format: Format, cache: &Cache) -> anyhow::Result<()> {
    let entries = cache.usage()?;
    if format == Format::Json {
        return entries.iter().try_for_each(|entry| entry_json("cache-entry", entry));
    }
    if entries.is_empty() {
        shell.status("Found", format_args!("nothing in {}", cache.root().display()));
        return Ok(());
    }
    let mut rows = vec![["KIND", "NAME", "SIZE", "LAST USED"].map(str::to_owned)];
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &entries {
        *kinds.entry(&entry.kind).or_default() += entry.bytes;
        let age = show_age(entry.last_used.elapsed().unwrap_or_default());
        rows.push([entry.kind.clone(), shorten(&entry.name), show_size(entry.bytes), age]);
    }
    let mut sums: Vec<[String; 2]> =
        kinds.iter().map(|(kind, bytes)| [(*kind).to_owned(), show_size(*bytes)]).collect();
    sums.push(["total".to_owned(), show_size(kinds.values().sum())]);
    shell::data(format!("{}\n{}", shell::table(&rows), shell::table(&sums)).as_bytes())
}

/// A name as people need it: without the hash that downloads start with, and no longer than fits on a line.
fn shorten(name: &str) -> String {
    const LONGEST: usize = 48;
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.split_once('-').filter(|(hash, _)| is_hash(hash)).map_or(name, |(_, name)| name);
    if name.chars().count() <= LONGEST {
        name.to_owned()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn removed(shell: &Shell, format: Format, entries: &[EntryUsage]) -> anyhow::Result<()> {
    if format == Format::Json {
        entries.iter().try_for_each(|entry| entry_json("cache-entry-removed", entry))?;
    }
    for entry in entries {
        shell.detail("Removed", format_args!("{} {}", entry.kind, entry.name));
    }
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    let noun = if entries.len() == 1 { "entry" } else { "entries" };
    shell.status("Removed", format_args!("{} {noun}, {}", entries.len(), show_size(bytes)));
    Ok(())
}

fn entry_json(reason: &str, entry: &EntryUsage) -> anyhow::Result<()> {
    let EntryUsage { kind, name, path, bytes, last_used } = entry;
    let last_used = last_used.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    shell::json(&json!({
        "reason": reason, "kind": kind, "name": name, "path": path, "bytes": bytes, "last_used": last_used,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened() {
        let hash = "0123456789abcdef".repeat(4);
        for (name, expected) in [
            ("base-0123".to_owned(), "base-0123".to_owned()),
            (format!("{hash}-file"), "file".to_owned()),
            (hash.clone(), format!("{}…", &hash[..47])),
        ] {
            assert_eq!(shorten(&name), expected);
        }
    }
}
