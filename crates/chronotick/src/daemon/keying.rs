//! What proves who answers. A symmetric key is read from its file; the rest is the client's side of the key establishment (RFC 8915 §4): TLS 1.3 to the server, one request, one answer. It blocks,
//! so it runs on the thread that looks the server up, within a deadline.

use super::names::{Endpoint, addresses};
use crate::config::{Ntp, TimeServer};
use chronotick_ntp::nts::{self, EXPORTER_LABEL, Keys, SecretKey, Session, ke};
use chronotick_ntp::{Protection, SymmetricKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Has keys for servers, or establishes them with those that it can tell from others by their certificates.
pub(super) struct Keying {
    keys: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    /// Made when it is first needed, because the system's certificates take a while to load, and again while that fails.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// How long one attempt may take in all.
const DEADLINE: Duration = Duration::from_secs(10);
/// So many of a name's addresses are tried.
const ADDRESSES: usize = 4;

impl Keying {
    /// Reads symmetric keys from one file, and trusts the certificates in the other, or the system's.
    pub(super) fn new(ntp: &Ntp) -> Keying {
        Keying { keys: ntp.keys_file.clone(), ca_file: ntp.nts_ca_file.clone(), tls: OnceLock::new() }
    }

    /// The symmetric key of this number. The file is read each time, so that one that was mended is taken.
    pub(super) fn key(&self, number: u32) -> Result<Arc<SymmetricKey>, String> {
        let path = self.keys.as_deref().ok_or("clock_measurement.ntp.keys_file names no file of keys")?;
        let key = crate::keys::read(path)?.get(number);
        key.ok_or_else(|| format!("there is no key {number} in {}; write it there", path.display()))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        match self.tls.get() {
            Some(tls) => Ok(tls.clone()),
            None => configuration(self.ca_file.as_deref()).map(|tls| self.tls.get_or_init(|| tls).clone()),
        }
    }

    /// Establishes keys with a server; gives where NTP is served with them.
    pub(super) fn establish(&self, server: &TimeServer, port: u16) -> Result<Vec<Endpoint>, String> {
        let begun = Instant::now();
        let tls = self.tls()?;
        let mut failure = "the name has no address".to_owned();
        for address in addresses(server.host(), port)?.into_iter().take(ADDRESSES) {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            match exchange(tls.clone(), server.host(), address, left) {
                Ok((keys, offer)) => return endpoints(server, address, keys, offer),
                Err(why) => failure = format!("NTS key establishment with {address}: {why}"),
            }
        }
        Err(failure)
    }
}

/// Where the offer says that NTP is; where nothing is said, beside the key establishment.
fn endpoints(
    server: &TimeServer,
    asked: SocketAddr,
    keys: Keys,
    offer: ke::Offer,
) -> Result<Vec<Endpoint>, String> {
    let port = offer.port.unwrap_or(server.port());
    let at = match &offer.server {
        None => vec![SocketAddr::new(asked.ip(), port)],
        Some(host) => addresses(host, port).map_err(|e| format!("the key server sends us to {host}: {e}"))?,
    };
    // Cookies are for one use: one address gets them.
    let protection = Protection::Nts(Session::new(keys, offer.cookies));
    Ok(at.first().map(|&address| Endpoint { address, protection }).into_iter().collect())
}

fn configuration(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?;
    let mut tls = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        None => {
            let verified = builder.with_platform_verifier();
            verified.map_err(|e| format!("the system's certificates: {e}"))?.with_no_client_auth()
        }
    };
    tls.alpn_protocols = vec![ke::ALPN.to_vec()];
    Ok(Arc::new(tls))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let told = |e: &dyn std::fmt::Display| format!("nts_ca_file {}: {e}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| told(&e))? {
        roots.add(certificate.map_err(|e| told(&e))?).map_err(|e| told(&e))?;
    }
    if roots.is_empty() { Err(told(&"there is no certificate in it")) } else { Ok(roots) }
}

/// One connection: the request out, the answer in, the keys from the connection itself.
fn exchange(
    tls: Arc<ClientConfig>,
    host: &str,
    address: SocketAddr,
    left: Duration,
) -> Result<(Keys, ke::Offer), String> {
    let words = |e: std::io::Error| e.to_string();
    let deadline = Instant::now() + left;
    // The zone of a link-local address is no part of what a certificate names.
    let name = ServerName::try_from(host.split('%').next().unwrap_or(host).to_owned());
    let name = name.map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))).map_err(words)?;
    let mut connection = ClientConnection::new(tls, name).map_err(|e| e.to_string())?;
    connection.writer().write_all(&ke::request()).map_err(words)?;
    let mut answer = ke::Reader::default();
    while answer.finished().is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the server takes too long".into());
        }
        tcp.set_read_timeout(Some(left)).and_then(|()| tcp.set_write_timeout(Some(left))).map_err(words)?;
        while connection.wants_write() {
            connection.write_tls(&mut tcp).map_err(words)?;
        }
        if connection.read_tls(&mut tcp).map_err(words)? == 0 {
            return Err("the server has closed the connection before its answer was complete".into());
        }
        if let Err(e) = connection.process_new_packets() {
            // The server is told why, if that is possible.
            let _ = connection.write_tls(&mut tcp);
            return Err(e.to_string());
        }
        if connection.alpn_protocol().is_some_and(|protocol| protocol != ke::ALPN) {
            return Err("another protocol is spoken there".into());
        }
        let mut buffer = [0; 4096];
        match connection.reader().read(&mut buffer) {
            Ok(len) => answer.take(&buffer[..len]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(words(e)),
        }
        if answer.is_too_long() {
            return Err("the server's answer is too long".into());
        }
    }
    if connection.alpn_protocol() != Some(ke::ALPN) {
        return Err("the server does not say that it speaks ntske/1".into());
    }
    let offer = ke::offer(answer.finished().unwrap_or_default()).map_err(|e| e.to_string())?;
    let key = |of_server| {
        let (context, bytes) = (nts::exporter_context(of_server), [0; SecretKey::LEN]);
        let exported = connection.export_keying_material(bytes, EXPORTER_LABEL, Some(&context));
        exported.map(SecretKey::new).map_err(|e| e.to_string())
    };
    Ok((Keys { client: key(false)?, server: key(true)? }, offer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_peers::Certificates;

    #[test]
    fn certificates_that_could_not_be_read_are_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let ca_file = dir.path().join("ca.pem");
        let keying = Keying { keys: None, ca_file: Some(ca_file.clone()), tls: OnceLock::new() };
        let why = keying.tls().expect_err("there is no such file");
        assert!(why.contains("ca.pem"), "{why}");
        std::fs::copy(Certificates::new().certificate(), &ca_file).expect("copied");
        let tls = keying.tls().expect("it is there now");
        std::fs::remove_file(&ca_file).expect("removed");
        assert!(Arc::ptr_eq(&tls, &keying.tls().expect("kept")));
    }
}
