//! Signatures, in the format of minisign: Ed25519 of the BLAKE2b-512 of a bundle.
//!
//! A signature is a file beside the bundle, so that the bundle is the same whoever signs it, and `minisign` itself can check it.

use std::fs;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};

use crate::error::{Error, Result};
use crate::hash;

/// What the name of a signature has behind that of its bundle.
pub const SIGNATURE_EXTENSION: &str = ".minisig";

/// The size of a signature's file, in bytes. Others are not read.
pub(crate) const SIGNATURE_LIMIT: u64 = 4096;

/// A key by which signatures are checked.
#[derive(Clone, Debug)]
pub struct PublicKey(minisign::PublicKey);

impl PublicKey {
    /// The key in a file, or given itself, in Base64: the second line of such a file.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn read(name: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Key { name: name.to_owned(), reason };
        if let Ok(key) = minisign::PublicKey::from_base64(name) {
            return Ok(Self(key));
        }
        let text = fs::read_to_string(name).map_err(Error::io("read the key", name))?;
        let key = PublicKeyBox::from_string(&text).and_then(PublicKeyBox::into_public_key);
        key.map(Self).map_err(|error| refuse(error.to_string()))
    }

    pub(crate) fn verify(&self, content: impl Read + Seek, signature: &str) -> Result<(), String> {
        let signature = SignatureBox::from_string(signature).map_err(|error| error.to_string())?;
        // Others have the whole file in memory to be checked.
        if !signature.is_prehashed() {
            return Err("it has the form of minisign's first versions".to_owned());
        }
        if signature.keynum() != self.0.keynum() {
            return Err("it was made by another key than the one that is trusted".to_owned());
        }
        minisign::verify(&self.0, &signature, content, true, false, false).map_err(|error| error.to_string())
    }
}

/// The signature of a file, which is to be beside it, by the key in the file `key`. If that is protected, the password is asked for on
/// the terminal unless it is given.
///
/// # Errors
///
/// When the key cannot be read, or is protected by another password.
pub fn sign(bundle: &Path, key: &Path, password: Option<String>) -> Result<String> {
    let refuse =
        |reason: minisign::PError| Error::Key { name: key.display().to_string(), reason: reason.to_string() };
    let text = fs::read_to_string(key).map_err(Error::io("read the key", key))?;
    let secret = secret_key(&text, password).map_err(refuse)?;
    let public = minisign::PublicKey::from_secret_key(&secret).map_err(refuse)?;
    let content = fs::File::open(bundle).map_err(Error::io("read", bundle))?;
    // It is signed as well, and shown by `minisign`.
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    let comment = format!("file:{name}\tsha256:{}", hash::file(bundle)?.0);
    let signature =
        minisign::sign(Some(&public), &secret, content, Some(&comment), Some("signature by cargo faasm"));
    Ok(signature.map_err(refuse)?.into_string())
}

/// The key in the text of a file.
fn secret_key(text: &str, password: Option<String>) -> Result<SecretKey, minisign::PError> {
    let content = text.lines().nth(1).and_then(|line| STANDARD.decode(line.trim()).ok()).unwrap_or_default();
    let is_protected = content.get(KEY_DERIVATION) != Some(&[0; 2][..]);
    let has_checksum = content.last_chunk::<CHECKSUM>().is_some_and(|it| *it != [0; CHECKSUM]);
    match (is_protected, has_checksum) {
        (true, _) => SecretKeyBox::from_string(text)?.into_secret_key(password),
        (false, true) => SecretKeyBox::from_string(text)?.into_unencrypted_secret_key(),
        // `minisign -W` writes none.
        (false, false) => SecretKey::from_bytes(&content),
    }
}

/// Where the content of a private key says how its password makes a key, which is nothing where there is none.
const KEY_DERIVATION: Range<usize> = 2..4;

/// How many bytes of checksum are at its end.
const CHECKSUM: usize = 32;

/// Makes a pair of keys: the private key's file, which the password protects if there is one, and the public key's.
///
/// # Errors
///
/// When the system has no randomness, or not the 1 GiB of memory that it takes to make a key of a password.
pub fn generate(password: Option<String>) -> Result<(String, String)> {
    let refuse = |reason: minisign::PError| Error::Key {
        name: "of a new pair".to_owned(),
        reason: reason.to_string(),
    };
    let pair = match password {
        None => KeyPair::generate_unencrypted_keypair(),
        password => KeyPair::generate_encrypted_keypair(password),
    };
    let KeyPair { pk, sk } = pair.map_err(refuse)?;
    Ok((sk.to_box(None).map_err(refuse)?.into_string(), pk.to_box().map_err(refuse)?.into_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_a_password_may_have_no_checksum() {
        let directory = tempfile::tempdir().unwrap();
        let [key, bundle] = ["key", "bundle"].map(|name| directory.path().join(name));
        fs::write(&bundle, "content").unwrap();
        let (secret, public) = generate(None).unwrap();
        let public = PublicKey(PublicKeyBox::from_string(&public).unwrap().into_public_key().unwrap());
        let signed = |change: &dyn Fn(&mut Vec<u8>)| {
            let (comment, content) = secret.trim_end().split_once('\n').unwrap();
            let mut content = STANDARD.decode(content).unwrap();
            change(&mut content);
            fs::write(&key, format!("{comment}\n{}\n", STANDARD.encode(content))).unwrap();
            let signature = sign(&bundle, &key, None).map_err(|error| error.to_string())?;
            public.verify(fs::File::open(&bundle).unwrap(), &signature)
        };
        signed(&|_| ()).unwrap();
        signed(&|content| {
            let checksum = content.len() - CHECKSUM;
            content[checksum..].fill(0);
        })
        .unwrap();
        // A checksum that is there must be right.
        signed(&|content| content[100] ^= 1).unwrap_err();
        signed(&|content| content.truncate(50)).unwrap_err();
    }
}
