//! What a distribution says about itself: `METADATA` in a wheel, `PKG-INFO` in a source archive.
//!
//! See <https://packaging.python.org/en/latest/specifications/core-metadata/>.

/// Core metadata: fields with values, of which some occur several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// Reads the fields. The description, which follows after an empty line, is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines().map(|it| it.trim_end_matches('\r')).take_while(|it| !it.is_empty()) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        Self(fields)
    }

    /// All values of a field. `name` is in lowercase.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field, unless it is empty or what old tools write for nothing.
    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty() && *value != "UNKNOWN")
    }

    /// What it requires: PEP 508 requirements.
    pub(crate) fn requirements(&self) -> impl Iterator<Item = &str> {
        self.all("requires-dist")
    }

    /// The licence as an SPDX expression if it says one, else by the name of the classifier, else what it says if
    /// that is a line and no whole licence.
    pub(crate) fn license(&self) -> Option<String> {
        let classifier = || {
            let licenses =
                self.all("classifier").filter_map(|it| it.strip_prefix("License :: OSI Approved :: "));
            licenses.map(|it| spdx(it).unwrap_or(it)).next()
        };
        let line = || self.first("license").filter(|it| it.lines().count() == 1 && it.len() <= 60);
        self.first("license-expression")
            .or_else(|| line().and_then(spdx))
            .or_else(classifier)
            .or_else(line)
            .map(str::to_owned)
    }

    /// The site of the project.
    pub(crate) fn home(&self) -> Option<String> {
        let labelled = || {
            let mut urls = self.all("project-url").filter_map(|it| it.split_once(','));
            let wanted = |label: &str| {
                ["homepage", "home", "source", "repository", "source code", "github"]
                    .contains(&label.trim().to_lowercase().as_str())
            };
            urls.find(|(label, _)| wanted(label)).map(|(_, url)| url.trim())
        };
        self.first("home-page").or_else(labelled).map(str::to_owned)
    }
}

/// The SPDX identifier for what people write for common licences.
fn spdx(name: &str) -> Option<&'static str> {
    let name = name.trim().to_lowercase();
    let known = [
        ("MIT", &["mit", "mit license", "the mit license"][..]),
        ("BSD-3-Clause", &["bsd-3-clause", "new bsd", "bsd 3-clause", "3-clause bsd"]),
        ("BSD-2-Clause", &["bsd-2-clause", "bsd 2-clause", "simplified bsd"]),
        (
            "Apache-2.0",
            &["apache-2.0", "apache 2.0", "apache software license", "apache license 2.0", "apache 2"],
        ),
        ("MPL-2.0", &["mpl-2.0", "mozilla public license 2.0 (mpl 2.0)"]),
        ("PSF-2.0", &["psf-2.0", "python software foundation license"]),
        ("ISC", &["isc", "isc license (iscl)"]),
        ("ZPL-2.1", &["zpl 2.1", "zope public license"]),
    ];
    known.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let text = "Metadata-Version: 2.4\nName: Pkg\nRequires-Dist: a>=1\nRequires-Dist: b ;\r\n  extra == 'x'\nLicense: MIT License\n\
                    Home-page: UNKNOWN\nProject-URL: Source Code, https://example.org/src\nnoise\n\nRequires-Dist: not this\n";
        let metadata = Metadata::parse(text);
        assert_eq!(metadata.requirements().collect::<Vec<_>>(), ["a>=1", "b ;\nextra == 'x'"]);
        assert_eq!(metadata.first("name"), Some("Pkg"));
        assert_eq!(metadata.license().as_deref(), Some("MIT"));
        assert_eq!(metadata.home().as_deref(), Some("https://example.org/src"));
    }

    #[test]
    fn licenses() {
        for (text, expected) in [
            ("License-Expression: MIT OR Apache-2.0\nLicense: x", Some("MIT OR Apache-2.0")),
            ("License: 3-Clause BSD", Some("BSD-3-Clause")),
            (
                "License: Copyright me\n  all rights\nClassifier: License :: OSI Approved :: Apache Software License",
                Some("Apache-2.0"),
            ),
            ("License: Dual License", Some("Dual License")),
            ("Name: x", None),
        ] {
            assert_eq!(Metadata::parse(text).license().as_deref(), expected, "{text}");
        }
    }
}
