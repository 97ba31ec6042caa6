//! Which files a configured daemon needs, and that it keeps to them: everything that the configuration names, what the C
//! library reads to find a name's address, the certificates that the system trusts, and where the kernel tells of the
//! machine. What is replaced while the daemon lives (certificates, the list of name servers) is allowed by its folder.

use crate::config::{Config, Discipline, Kind, ReferenceClock, Sandbox as Wanted};
use chronotick_os::Sandbox;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Folders and files that every daemon reads: libraries that are loaded late, names, certificates, time zones, the kernel's.
const READ: [&str; 25] = [
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/sys",
    "/etc/ld.so.cache",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/zoneinfo",
    "/etc/adjtime",
    "/dev/vmclock0",
];

/// Confines this process, as the configuration has it, and logs what the kernel gave. To be called before there are other
/// threads, and once the runtime directory is there.
///
/// # Errors
/// If `daemon.sandbox` is `on` and cannot be had.
pub fn confine(config: &Config) -> io::Result<()> {
    if config.sandbox == Wanted::Off {
        log::info!("no sandbox, as configured");
        return Ok(());
    }
    let entered = needs(config).enter()?;
    if config.sandbox == Wanted::On && !entered.is_whole() {
        let why = format!("daemon.sandbox is on, but {entered}; set it to auto, or take a newer kernel");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    log::info!("sandbox: {entered}");
    Ok(())
}

/// Everything that the configured daemon opens from here on.
fn needs(config: &Config) -> Sandbox {
    // Whoever cannot be made is missed by the one who needs it, with a better message.
    let _ = std::fs::create_dir_all(&config.state_dir);
    let written = [config.trace_file(), config.mcp.audit_file.clone()].into_iter().flatten();
    let written = written.inspect(|file| touch(file)).chain(["/dev/null".into()]);
    let clocks = config.reference_clocks.iter().flat_map(clock);
    let write = written.chain(clocks).chain([config.runtime_dir.clone(), config.state_dir.clone()]);

    let named = [
        &config.ntp.nts_ca_file,
        &config.ntp.keys_file,
        &config.http.token_file,
        &config.monitor.webhook_secret_file,
        &config.bus.credentials_file,
        &config.bus.ca_file,
    ];
    let named = named.into_iter().flatten().cloned();
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR"].into_iter().filter_map(std::env::var_os);
    let certificates = [&config.serve.nts.certificate, &config.serve.nts.private_key].into_iter().flatten();
    let read = READ.iter().map(PathBuf::from).chain(named).chain(variables.map(PathBuf::from));
    let read = read.chain(certificates.flat_map(|file| folders(file))).chain(name_servers());

    let pulses = config.reference_clocks.iter().any(|clock| matches!(clock.kind, Kind::Pps(..)));
    let sandbox = Sandbox::new().sets_clock(config.discipline != Discipline::Off).captures_pulses(pulses);
    let sandbox = read.chain(checkpoints(config)).fold(sandbox, Sandbox::read);
    write.fold(sandbox, Sandbox::write)
}

/// Only what is there can be allowed; nothing in it is for others.
fn touch(file: &Path) {
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
}

/// The devices of a reference clock, or the folder that its socket is made in.
fn clock(clock: &ReferenceClock) -> Vec<PathBuf> {
    match &clock.kind {
        Kind::Sock(socket) | Kind::Chronyd(Some(socket)) => {
            socket.parent().map(Path::to_owned).into_iter().collect()
        }
        // Our end of its command socket lies beside it.
        Kind::Chronyd(None) => vec!["/run/chrony".into()],
        Kind::Pps(device, _) | Kind::Phc(device) | Kind::Nmea(device, _) => vec![device.clone()],
        Kind::Vmclock(page) => [page.clone()].into_iter().chain(clock_of_the_page()).collect(),
        Kind::Shm(_) | Kind::Gpsd { .. } => Vec::new(),
    }
}

#[cfg(target_os = "linux")]
fn clock_of_the_page() -> Option<PathBuf> {
    chronotick_os::refclock::vmclock::device()
}

#[cfg(not(target_os = "linux"))]
fn clock_of_the_page() -> Option<PathBuf> {
    None
}

/// The folder of a file, and that of the file which it is a link to: either may be replaced.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let linked = file.canonicalize().ok();
    [Some(file.to_owned()), linked].into_iter().flatten().filter_map(|file| file.parent().map(Path::to_owned))
}

/// Where the list of name servers lies in a folder of its own, it is replaced there whenever the network changes. In `/etc` it
/// is so, too; but there are secrets beside it, which only a user without rights may be trusted with.
fn name_servers() -> Option<PathBuf> {
    let folder = Path::new("/etc/resolv.conf").canonicalize().ok()?.parent()?.to_owned();
    (folder != Path::new("/etc") || !rustix::process::geteuid().is_root()).then_some(folder)
}

/// The folders of models, and the cache of the hub if one is named by its repository.
#[cfg(feature = "models")]
fn checkpoints(config: &Config) -> Vec<PathBuf> {
    use crate::models::Reference;
    let enabled = [&config.short_term, &config.long_term].into_iter().filter(|model| model.enabled);
    let place = |model: &crate::config::Model| match model.model_name.to_string().parse().ok()? {
        Reference::Folder(folder) => Some(folder),
        Reference::Hub(_) => chronotick_tsfm::hub::Cache::standard().map(|cache| cache.dir().to_owned()),
        Reference::Endpoint(_) => None,
    };
    enabled.filter_map(place).collect()
}

#[cfg(not(feature = "models"))]
fn checkpoints(_: &Config) -> Vec<PathBuf> {
    Vec::new()
}
