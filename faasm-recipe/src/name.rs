//! Names of packages.

/// The normalised form of a package's or an extra's name: lowercase, with `-` for each run of `-`, `_` and `.`.
/// `None` when it is no such name.
///
/// See <https://packaging.python.org/en/latest/specifications/name-normalization/>.
pub fn normalized(name: &str) -> Option<String> {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !alphanumeric(name.chars().next()) || !alphanumeric(name.chars().next_back()) {
        return None;
    }
    let mut result = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if result.ends_with('-') => {}
            '-' | '_' | '.' => result.push('-'),
            c if c.is_ascii_alphanumeric() => result.push(c.to_ascii_lowercase()),
            _ => return None,
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("numpy", Some("numpy")),
            ("Ruamel.YAML", Some("ruamel-yaml")),
            ("a__-.b", Some("a-b")),
            ("7", Some("7")),
            ("", None),
            ("-a", None),
            ("a.", None),
            ("a b", None),
            ("naïve", None),
        ] {
            assert_eq!(normalized(name).as_deref(), expected, "{name:?}");
        }
    }
}
