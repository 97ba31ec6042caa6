//! Certificates of authorities of our own, for servers that have to prove who they are.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// An authority, and a server's certificate of it for `localhost`, `127.0.0.1` and `::1`; the files are gone when dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Draws new keys.
    ///
    /// # Panics
    /// If there is no directory for the files.
    pub fn new() -> Certificates {
        let folder = tempfile::tempdir().expect("a directory");
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key();
        let root = authority.self_signed(&authority_key).expect("an authority signs itself");
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let server = CertificateParams::new(names).expect("names and addresses");
        let (server_key, issuer) = (key(), Issuer::new(authority, &authority_key));
        let signed = server.signed_by(&server_key, &issuer).expect("the authority signs");
        let certificates = Certificates { folder };
        for (path, text) in [
            (certificates.authority(), root.pem()),
            (certificates.certificate(), signed.pem()),
            (certificates.key(), server_key.serialize_pem()),
        ] {
            fs::write(&path, text).expect("the directory is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        }
        certificates
    }

    /// The authority's certificate, which a client has to trust.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }
    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates::new()
    }
}
