//! Which files a configured daemon needs, and that it keeps to them: everything that the configuration names, what the C
//! library reads to find a name's address, the certificates that the system trusts, and where the kernel tells of the
//! machine. What is replaced while the daemon lives (certificates, keys, the list of name servers) is allowed by its folder.

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
        &config.http.token_file,
        &config.monitor.webhook_secret_file,
        &config.bus.credentials_file,
        &config.bus.ca_file,
    ];
    let named = named.into_iter().flatten().cloned();
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR"].into_iter().filter_map(std::env::var_os);
    let read_again = [
        &config.ntp.nts_ca_file,
        &config.ntp.keys_file,
        &config.serve.nts.certificate,
        &config.serve.nts.private_key,
    ];
    let read_again = read_again.into_iter().flatten();
    let read = READ.iter().map(PathBuf::from).chain(named).chain(variables.map(PathBuf::from));
    let read = read.chain(read_again.flat_map(|file| folders(file))).chain(name_servers());

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
    let (named, linked) = (std::path::absolute(file), file.canonicalize());
    [named.ok(), linked.ok()].into_iter().flatten().map(|file| around(&file).unwrap_or(file))
}

/// The list of name servers is replaced whenever the network changes.
fn name_servers() -> Option<PathBuf> {
    around(&Path::new("/etc/resolv.conf").canonicalize().ok()?)
}

/// The folder of a file that may be replaced; none where secrets lie beside it, as in `/etc`, which only a user without rights
/// may be trusted with.
fn around(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    let secrets =
        [Path::new("/"), Path::new("/etc")].contains(&folder) && rustix::process::geteuid().is_root();
    (!secrets).then(|| folder.to_owned())
}

/// The folders of models, and the cache of the hub if one is named by its repository. What is not there yet is looked for
/// again: the cache is made, and of a folder that is missing the one around it is allowed.
#[cfg(feature = "models")]
fn checkpoints(config: &Config) -> Vec<PathBuf> {
    use crate::models::Reference;
    let enabled = [&config.short_term, &config.long_term].into_iter().filter(|model| model.enabled);
    let place = |model: &crate::config::Model| match model.model_name.to_string().parse().ok()? {
        Reference::Folder(folder) if folder.exists() => Some(folder),
        Reference::Folder(folder) => around(&folder),
        Reference::Hub(_) => {
            let cache = chronotick_tsfm::hub::Cache::standard()?;
            let _ = std::fs::create_dir_all(cache.dir());
            Some(cache.dir().to_owned())
        }
        Reference::Endpoint(_) => None,
    };
    enabled.filter_map(place).collect()
}

#[cfg(not(feature = "models"))]
fn checkpoints(_: &Config) -> Vec<PathBuf> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a daemon of this configuration may open, as text.
    fn opened(change: impl FnOnce(&mut Config, &Path)) -> (tempfile::TempDir, impl Fn(&str) -> bool) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        (config.state_dir, config.runtime_dir) = (dir.path().join("state"), dir.path().join("run"));
        change(&mut config, dir.path());
        let (needs, root) = (format!("{:?}", needs(&config)), dir.path().to_owned());
        (dir, move |path| needs.contains(&format!("{:?}", root.join(path))))
    }

    #[test]
    fn keys_and_certificates_are_found_again_after_they_were_replaced() {
        let (_dir, may_open) = opened(|config, dir| {
            for folder in ["keys", "real"] {
                std::fs::create_dir_all(dir.join(folder)).expect("made");
            }
            std::fs::write(dir.join("real/ca.pem"), "").expect("written");
            std::os::unix::fs::symlink(dir.join("real/ca.pem"), dir.join("keys/ca.pem")).expect("linked");
            config.ntp.keys_file = Some(dir.join("later/keys"));
            config.ntp.nts_ca_file = Some(dir.join("keys/ca.pem"));
        });
        assert!(may_open("later") && may_open("keys") && may_open("real"));
        assert!(!may_open(""));
    }

    #[cfg(feature = "models")]
    #[test]
    fn a_folder_of_a_model_may_come_later() {
        use crate::config::ModelName;
        let (_dir, may_open) = opened(|config, dir| {
            std::fs::create_dir_all(dir.join("models/here")).expect("made");
            let folder = |name: &str| ModelName::Reference(dir.join(name).display().to_string());
            config.short_term.enabled = true;
            config.short_term.model_name = folder("models/here");
            config.long_term.enabled = true;
            config.long_term.model_name = folder("others/mine");
        });
        assert!(may_open("models/here") && !may_open("models") && may_open("others"));
    }

    #[test]
    fn secrets_beside_a_file_stay_closed_to_the_daemon_of_root() {
        let folder = around(Path::new("/etc/chrony.keys"));
        assert_eq!(folder.is_none(), rustix::process::geteuid().is_root());
        assert_eq!(around(Path::new("/etc/chrony/chrony.keys")), Some("/etc/chrony".into()));
    }
}
