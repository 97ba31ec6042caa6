//! Files that are replaced while others read them.

use std::fs;
use std::io;
use std::path::Path;

/// Replaces a file in one step: readers see the old or the new one, whole. Nobody waits until it is on the disk, so after a
/// power failure it may be found empty.
///
/// # Errors
/// Those of writing and renaming a file beside it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}
