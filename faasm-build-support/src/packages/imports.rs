//! What Python modules import.

/// What a module may import by statements that are not indented: of `from a import b` that is `a.b`, whether `b` is a module or not.
/// `relative` is the module's path below `site-packages`.
pub(super) fn imported(text: &str, relative: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|it| it.split('#').next().unwrap_or_default().trim_end())
        .peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with("import") && !line.starts_with("from") {
            continue;
        }
        let mut statement = line.to_owned();
        while statement.ends_with('\\') || (statement.contains('(') && !statement.contains(')')) {
            // A sentence in a text can begin like a statement. What follows it is left alone.
            let Some(line) = lines.next_if(|it| has_only_names(it)) else { break };
            statement = format!("{} {line}", statement.trim_end_matches('\\'));
        }
        let statement = statement.replace(['(', ')', '\\', '\t'], " ").replace('*', " * ");
        if let Some(names) = statement.strip_prefix("import ") {
            modules.extend(words(names).map(str::to_owned));
        } else if let Some((from, names)) =
            statement.strip_prefix("from").and_then(|it| it.split_once(" import "))
        {
            let base = base(from.trim(), relative);
            modules.extend(words(names).map(|it| format!("{base}.{it}")));
        }
    }
    modules
}

/// Whether a line can be one of those that a statement goes on in.
fn has_only_names(line: &str) -> bool {
    line.chars().all(|it| it.is_alphanumeric() || it.is_whitespace() || "_.,*()\\;".contains(it))
}

/// Names that are separated by commas, without what they are called here.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter_map(|it| it.split_whitespace().next())
}

/// The name of what `from` imports from; each of its dots but the first leads one package up.
fn base(from: &str, relative: &str) -> String {
    let name = from.trim_start_matches('.');
    let up = from.len() - name.len();
    let around: Vec<&str> = relative.split('/').collect();
    let mut base: Vec<&str> = Vec::new();
    if up > 0 {
        base.extend(around.iter().take(around.len().saturating_sub(up)));
    }
    base.extend(name.trim().split('.').filter(|it| !it.is_empty()));
    base.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found() {
        for (text, expected) in [
            ("import os, a.x as y, \\\n  b", &["os", "a.x", "b"][..]),
            ("from a.b.c import get, put as set", &["a.b.c.get", "a.b.c.put"]),
            ("from . import x", &["a.b.x"]),
            ("from .x import *", &["a.b.x.*"]),
            ("from.x import*", &["a.b.x.*"]),
            ("from .. import x", &["a.x"]),
            ("from ..x.y import z", &["a.x.y.z"]),
            ("from .....far.x import y", &["far.x.y"]),
            ("from . import (  # why\n    x,  # that\n\n    y as z,\n)\nimport c", &["a.b.x", "a.b.y", "c"]),
            ("from . import \\\n    (x,\n    y)", &["a.b.x", "a.b.y"]),
            ("from .x \\\n\timport\ty", &["a.b.x.y"]),
            ("from . import  (x); import y\nimport z", &["a.b.x", "z"]),
            ("\u{feff}import x\r\nimport y", &["x", "y"]),
            ("def run():\n    from .x import y", &[]),
            ("from\nimport\nfrom x import\nimportant = (1)\nfrom x import (", &[]),
            ("\"\"\"\nfrom here we import (see\n  what's there.\n\"\"\"\nimport x", &["here we.see", "x"]),
        ] {
            assert_eq!(imported(text, "a/b/__init__.py"), expected, "{text}");
        }
    }
}
