//! What a person writes to name a model.

use super::EMBEDDED;
use super::endpoint::{Address, BadAddress};
use super::known::KNOWN;
use chronotick_tsfm::hub::Repository;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A model by name.
///
/// ```
/// use chronotick::models::Reference;
///
/// let chronos: Reference = "chronos".parse()?;
/// assert_eq!(chronos.to_string(), "amazon/chronos-bolt-tiny");
/// assert!(matches!("/opt/models/mine".parse()?, Reference::Folder(_)));
/// assert!(matches!("http://127.0.0.1:8000/forecast".parse()?, Reference::Endpoint(_)));
/// # Ok::<(), chronotick::models::BadAddress>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A folder with a checkpoint of any supported family.
    Folder(PathBuf),
    /// A repository of the hub, found in its cache.
    Hub(Repository),
    /// A server that keeps the contract of `docs/models.md`.
    Endpoint(Address),
}

impl Reference {
    /// Whether it is the model that comes with the program: its name, and no folder of that name.
    pub fn is_embedded(&self) -> bool {
        matches!(self, Reference::Folder(folder) if *folder == Path::new(EMBEDDED) && !folder.exists())
    }
}

impl FromStr for Reference {
    type Err = BadAddress;

    /// An address if it has a scheme; a [`Known`](super::Known) model's name; a folder if there is one; a repository
    /// if it looks like `OWNER/NAME` or `OWNER/NAME@REVISION`; else a folder that is missing.
    fn from_str(text: &str) -> Result<Reference, BadAddress> {
        if text.contains("://") {
            return Ok(Reference::Endpoint(text.parse()?));
        }
        let known = KNOWN.iter().find(|known| known.name == Some(text));
        let repository = known.map_or(text, |known| known.repository).parse::<Repository>();
        let folder = PathBuf::from(text);
        Ok(match repository {
            Ok(repository) if known.is_some() || !folder.exists() => Reference::Hub(repository),
            _ => Reference::Folder(folder),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Folder(folder) => folder.display().fmt(f),
            Reference::Hub(repository) => repository.fmt(f),
            Reference::Endpoint(address) => address.fmt(f),
        }
    }
}
