//! The file of symmetric keys, which client and server have in common: read only if nobody else can.

use chronotick_ntp::KeyRing;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No file of keys is longer.
const LONGEST: u64 = 1 << 20;

/// Reads the keys of a file in chrony's format.
///
/// # Errors
/// In words, with the mend, and without any key: it cannot be read, others can read or change it, or a line has no meaning.
pub(crate) fn read(path: &Path) -> Result<KeyRing, String> {
    let told = |why: &dyn std::fmt::Display| format!("the keys in {}: {why}", path.display());
    let mut file = File::open(path).map_err(|e| told(&cannot(&e)))?;
    let meta = file.metadata().map_err(|e| told(&e))?;
    if !meta.is_file() {
        return Err(told(&"this is no file"));
    }
    if meta.mode() & 0o077 != 0 {
        let (mode, path) = (meta.mode() & 0o777, path.display());
        return Err(told(&format!("others may use the file (mode {mode:04o}); chmod 600 {path}")));
    }
    let mut text = String::new();
    file.by_ref().take(LONGEST).read_to_string(&mut text).map_err(|e| told(&e))?;
    text.parse().map_err(|e| told(&e))
}

fn cannot(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; the file has to belong to the user that the daemon runs as")
        }
        io::ErrorKind::NotFound => {
            format!("{error}; write them there, or correct clock_measurement.ntp.keys_file")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_that_others_can_read_are_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(read(&path).unwrap_err().contains("clock_measurement.ntp.keys_file"));
        write(&path, "1 SHA256 very-secret\n").unwrap();
        for (mode, fine) in [(0o644, false), (0o640, false), (0o620, false), (0o600, true), (0o400, true)] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let keys = read(&path);
            assert_eq!(keys.is_ok(), fine, "{mode:o}");
            let why = keys.err().unwrap_or_else(|| "chmod 600".into());
            assert!(why.contains("chmod 600") && !why.contains("secret"), "{why}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        write(&path, "1 SHA256 secret\n2 MD5 secret\n").unwrap();
        let why = read(&path).unwrap_err();
        assert!(why.contains("line 2") && !why.contains("secret"), "{why}");
        assert!(read(folder.path()).unwrap_err().contains("no file"));
    }
}
