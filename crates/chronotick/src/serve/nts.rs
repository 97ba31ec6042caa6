//! The server's side of the key establishment (RFC 8915 §4): TLS 1.3, one request, one answer, cookies in it. A thread
//! accepts, and each connection has a thread of its own for a few seconds.

use super::{CannotServe, Served};
use crate::config::{Listen, ServeNts};
use chronotick_clock::Span;
use chronotick_ntp::nts::{self, CookieJar, EXPORTER_LABEL, Keys, SecretKey, ke};
use chronotick_ntp::{Access, Permission};
use chronotick_os::{random_u64, wait};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// The cookie keys, which the NTP server and the key establishment share.
pub(super) type Jar = Arc<RwLock<CookieJar>>;

/// How long a connection may last in all.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many connections are served at once; more are closed.
const CONNECTIONS: usize = 64;

/// Opens the sockets and starts the thread. `port` is where NTP is served, if not at the usual port.
pub(super) fn start(
    settings: &ServeNts,
    access: Access,
    port: Option<u16>,
    served: Served,
) -> Result<Jar, CannotServe> {
    let bind = |&Listen(address)| {
        let listen = |error| CannotServe::KeyListen { address, error };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        log::info!("establishing NTS keys on {address}");
        Ok(listener)
    };
    let listeners: Vec<TcpListener> = settings.listen.iter().map(bind).collect::<Result<_, _>>()?;
    let (certificate, key) = settings.identity().ok_or(CannotServe::NoIdentity)?;
    let identity = Identity::load(certificate, key).map_err(CannotServe::Identity)?;
    let jar: Jar = Arc::new(RwLock::new(CookieJar::new(random_u64)));
    let desk = Desk { access, jar: jar.clone(), port, busy: Arc::default(), served };
    let rotation = settings.key_rotation;
    let run = move || match serve(&listeners, desk, identity, rotation) {
        Ok(()) => {}
        Err(e) => log::error!("no NTS keys are established any more: {e}"),
    };
    std::thread::Builder::new().name("nts-keys".into()).spawn(run).map_err(CannotServe::Thread)?;
    Ok(jar)
}

/// What each connection needs.
#[derive(Clone)]
struct Desk {
    access: Access,
    jar: Jar,
    port: Option<u16>,
    busy: Arc<AtomicUsize>,
    served: Served,
}

fn serve(listeners: &[TcpListener], desk: Desk, mut identity: Identity, rotation: Span) -> io::Result<()> {
    let mut rotated = Instant::now();
    let rotation = Duration::from_nanos(rotation.as_nanos().max(1).unsigned_abs());
    loop {
        let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let ready = wait(&fds, Some(Span::from_secs(1)))?;
        if rotated.elapsed() >= rotation {
            desk.jar.write().unwrap_or_else(std::sync::PoisonError::into_inner).rotate(random_u64);
            rotated = Instant::now();
        }
        for listener in ready {
            while let Ok((connection, client)) = listeners[listener].accept() {
                let crowded = desk.busy.load(Ordering::Relaxed) >= CONNECTIONS;
                if crowded || desk.access.of(client.ip()) != Permission::Allowed {
                    desk.served.count(|view| view.keys_refused += 1);
                    continue;
                }
                desk.served.count(|view| view.keys_asked += 1);
                identity.reload();
                hand_over(connection, desk.clone(), identity.tls.clone());
            }
        }
    }
}

/// Serves a connection on a thread of its own.
fn hand_over(connection: TcpStream, desk: Desk, tls: Arc<ServerConfig>) {
    desk.busy.fetch_add(1, Ordering::Relaxed);
    let busy = desk.busy.clone();
    let task = move || {
        if let Err(why) = establish(connection, &desk, tls) {
            log::debug!("NTS key establishment: {why}");
        }
        desk.busy.fetch_sub(1, Ordering::Relaxed);
    };
    if std::thread::Builder::new().name("nts-client".into()).spawn(task).is_err() {
        busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection: the request in, the answer out.
fn establish(mut tcp: TcpStream, desk: &Desk, tls: Arc<ServerConfig>) -> Result<(), String> {
    let words = |e: io::Error| e.to_string();
    tcp.set_nonblocking(false).map_err(words)?;
    let mut connection = ServerConnection::new(tls).map_err(|e| e.to_string())?;
    let deadline = Instant::now() + DEADLINE;
    let mut request = ke::Reader::default();
    while request.finished().is_none() {
        send(&mut connection, &mut tcp, deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || request.is_too_long() {
            return Err("the client takes too long".into());
        }
        tcp.set_read_timeout(Some(left)).map_err(words)?;
        if connection.read_tls(&mut tcp).map_err(words)? == 0 {
            return Err("the client has closed the connection".into());
        }
        if let Err(e) = connection.process_new_packets() {
            // The client is told why, if that is possible.
            let _ = send(&mut connection, &mut tcp, deadline);
            return Err(e.to_string());
        }
        let mut buffer = [0; 1024];
        while let Ok(len) = connection.reader().read(&mut buffer) {
            if len == 0 {
                break;
            }
            request.take(&buffer[..len]);
        }
    }
    let records = request.finished().unwrap_or_default();
    let key = |of_server| {
        let (context, bytes) = (nts::exporter_context(of_server), [0; SecretKey::LEN]);
        let exported = connection.export_keying_material(bytes, EXPORTER_LABEL, Some(&context));
        exported.map(SecretKey::new).map_err(|e| e.to_string())
    };
    let keys = Keys { client: key(false)?, server: key(true)? };
    let answer = {
        let jar = desk.jar.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        ke::answer(records, desk.port, || jar.seal(&keys, random_u64))
    };
    connection.writer().write_all(&answer).map_err(words)?;
    connection.send_close_notify();
    send(&mut connection, &mut tcp, deadline)
}

fn send(connection: &mut ServerConnection, tcp: &mut TcpStream, deadline: Instant) -> Result<(), String> {
    while connection.wants_write() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the client does not take the answer".into());
        }
        tcp.set_write_timeout(Some(left)).map_err(|e| e.to_string())?;
        connection.write_tls(tcp).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The certificate and its key; read again when the file of the certificate has been replaced.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    changed: Option<SystemTime>,
    tls: Arc<ServerConfig>,
}

impl Identity {
    fn load(certificate: &Path, key: &Path) -> Result<Identity, String> {
        let tls = configuration(certificate, key)?;
        Ok(Identity { certificate: certificate.into(), key: key.into(), changed: changed(certificate), tls })
    }

    fn reload(&mut self) {
        let now = changed(&self.certificate);
        if now == self.changed {
            return;
        }
        match configuration(&self.certificate, &self.key) {
            Ok(tls) => (self.tls, self.changed) = (tls, now),
            // It may be in the middle of being replaced: the old one goes on, and the next connection tries again.
            Err(e) => log::warn!("the new NTS certificate cannot be used: {e}"),
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}

fn configuration(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let of = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| of(certificate, &e))?;
    let chain: Vec<CertificateDer<'_>> = chain.collect::<Result<_, _>>().map_err(|e| of(certificate, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| of(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| of(certificate, &e))?;
    tls.alpn_protocols = vec![ke::ALPN.to_vec()];
    Ok(Arc::new(tls))
}
