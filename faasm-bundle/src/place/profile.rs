//! Profiles: the files with credentials and settings that the tools of Amazon share.
//!
//! The format is described in the "AWS SDKs and Tools Reference Guide", under "Shared config and credentials files".

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::error::{Error, Result};

/// The settings of a profile.
type Profile = BTreeMap<String, String>;

/// How a profile may get its credentials that is not known here.
const ELSEWHERE: [&str; 4] = ["credential_process", "role_arn", "sso_session", "sso_start_url"];

/// Adds what a profile has and the environment does not. Credentials in the environment, or of a web identity, go before those of a
/// profile, and these before the role of the machine.
pub(super) fn complete(mut builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
    let named = env::var("AWS_PROFILE").ok().filter(|it| !it.is_empty());
    let name = named.clone().unwrap_or_else(|| "default".to_owned());
    let file = |variable: &str, default: &str| match env::var_os(variable).filter(|it| !it.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(Path::new(&env::var_os("HOME")?).join(".aws").join(default)),
    };
    let mut profile = Profile::new();
    // What is in both files is taken from the one for credentials.
    for path in [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        .into_iter()
        .flatten()
    {
        profile.extend(read(&path, &name)?);
    }

    let is_set = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
    if !is_set(&builder, AmazonS3ConfigKey::Region)
        && let Some(region) = env::var("AWS_DEFAULT_REGION").ok().or_else(|| profile.remove("region"))
    {
        builder = builder.with_region(region);
    }
    if !is_set(&builder, AmazonS3ConfigKey::Endpoint)
        && !is_set(&builder, AmazonS3ConfigKey::S3Endpoint)
        && let Some(endpoint) = profile.remove("endpoint_url")
    {
        builder = builder.with_endpoint(endpoint);
    }
    if is_set(&builder, AmazonS3ConfigKey::AccessKeyId)
        || is_set(&builder, AmazonS3ConfigKey::WebIdentityTokenFile)
    {
        return Ok(builder);
    }
    let refuse = |reason: String| Error::Location { location: format!("the profile {name}"), reason };
    if let (Some(id), Some(secret)) =
        (profile.remove("aws_access_key_id"), profile.remove("aws_secret_access_key"))
    {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = profile.remove("aws_session_token") {
            builder = builder.with_token(token);
        }
    } else if let Some(key) = ELSEWHERE.into_iter().find(|it| profile.contains_key(*it)) {
        return Err(refuse(format!(
            "its credentials come by `{key}`, which is not known here; put them into the environment with `aws configure \
             export-credentials --format env`"
        )));
    } else if let Some(named) = named {
        return Err(refuse(format!("AWS_PROFILE names {named}, and there are no credentials of it")));
    }
    Ok(builder)
}

/// The settings of one profile in a file, which need not be there.
fn read(path: &Path, name: &str) -> Result<Profile> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Profile::new()),
        other => Ok(parse(&other.map_err(Error::io("read", path))?, name)),
    }
}

/// Sections are `[name]` or `[profile name]`. Indented lines are settings of settings, which nothing here uses.
fn parse(text: &str, name: &str) -> Profile {
    let mut profile = Profile::new();
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) =
            trimmed.strip_prefix('[').and_then(|it| it.split_once(']')).map(|it| it.0.trim())
        {
            inside = section == name || section.strip_prefix("profile ").is_some_and(|it| it.trim() == name);
        } else if inside
            && !line.starts_with(char::is_whitespace)
            && let Some((key, value)) = trimmed.split_once('=')
        {
            profile.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read() {
        let text = "# comment\n[default]\naws_access_key_id = A\n; comment\n[profile  two]\nREGION=eu-1\ns3 =\n  \
                    endpoint_url = x\nurl = a=b\n[two-b]\nregion = no\n";
        let get = |name: &str| {
            parse(text, name).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(get("default"), ["aws_access_key_id=A"]);
        assert_eq!(get("two"), ["region=eu-1", "s3=", "url=a=b"]);
        assert_eq!(get("three"), [""; 0]);
    }
}
