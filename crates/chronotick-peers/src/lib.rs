//! Servers for the tests, on loopback, stopped with the test. [`http`] answers as a test says, [`Chronyd`] is a real one
//! on a free port, without a way to the system clock; where it is not installed a test is skipped, and says so. [`Daemon`]
//! is the program under test itself.

#![forbid(unsafe_code)]

mod certificate;
mod daemon;
pub mod http;

pub use certificate::Certificates;
pub use daemon::{Daemon, command, eventually};

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, io};
use tempfile::TempDir;

/// An address of the loopback on which nobody listens at the moment.
///
/// # Panics
/// If loopback has no free port.
pub fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

/// The same for TCP.
///
/// # Panics
/// If loopback has no free port.
pub fn free_tcp_address() -> SocketAddr {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address")
}

/// The command that runs `chronyd` as whoever runs the test, without touching the system clock (`-x`); `None`, with
/// the reason on stderr, if it is not installed.
pub fn chronyd(arguments: &[&str]) -> Option<Command> {
    let paths = ["/usr/sbin/chronyd", "/usr/local/sbin/chronyd", "/usr/bin/chronyd"];
    let Some(path) = paths.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        eprintln!("skipped: there is no chronyd on this machine (Debian package chrony)");
        return None;
    };
    let user = Command::new("id").arg("-un").output().map(|o| o.stdout).unwrap_or_default();
    let mut command = Command::new(path);
    command.args(["-x", "-U", "-u", String::from_utf8_lossy(&user).trim()]).args(arguments);
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
    Some(command)
}

/// A chronyd that serves the system clock on loopback; stopped when dropped.
#[derive(Debug)]
pub struct Chronyd {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Chronyd {
    /// Starts one with these further directives; `local stratum 1` makes it serve the system clock as it is, without
    /// `local` it says that it does not know the time. `None` if it is not installed.
    ///
    /// # Panics
    /// If it is installed and cannot be started, or does not answer.
    pub fn start(directives: &str) -> Option<Chronyd> {
        let (folder, address) = (tempfile::tempdir().expect("a directory"), free_address());
        // chronyd has its command socket only where nobody else may look.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("the directory is ours");
        let pid = folder.path().join("pid");
        let config = format!(
            "port {}\ncmdport 0\nbindcmdaddress {}\nbindaddress 127.0.0.1\nallow 127.0.0.0/8\npidfile {}\n{directives}\n",
            address.port(),
            folder.path().join("cmd.sock").display(),
            pid.display()
        );
        fs::write(folder.path().join("conf"), config).expect("the directory is ours");
        let child = spawn(&folder)?.expect("chronyd starts");
        wait_for(address);
        Some(Chronyd { child, address, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A directory that is its own, for what its directives name; gone with it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What `chronyc -c` answers, a line for each row with commas between its columns, or complains of.
    pub fn chronyc(&self, arguments: &[&str]) -> String {
        let socket = self.folder.path().join("cmd.sock").display().to_string();
        let output = Command::new("chronyc").args(["-c", "-h", &socket]).args(arguments).output();
        output.map_or_else(
            |e| format!("chronyc: {e}"),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        let _ = fs::remove_file(self.folder.path().join("pid"));
        self.child = spawn(&self.folder).expect("it was there before").expect("chronyd starts");
        wait_for(self.address);
    }
}

/// Asks until somebody answers.
fn wait_for(address: SocketAddr) {
    let mut request = [0; 48];
    // Version 4, mode 3: a client (RFC 5905 §7.3).
    request[0] = 0x23;
    for _ in 0..400 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout above zero");
        let asked = socket.connect(address).and_then(|()| socket.send(&request));
        if asked.is_ok() && socket.recv(&mut [0; 512]).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("chronyd does not answer on {address}");
}

fn spawn(folder: &TempDir) -> Option<io::Result<Child>> {
    let config = folder.path().join("conf").display().to_string();
    Some(chronyd(&["-d", "-f", &config])?.spawn())
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        self.kill();
    }
}
