//! The sandbox, tried from within: this program starts itself again, once for each question, because nobody leaves it.
#![cfg(target_os = "linux")]

use chronotick_os::Sandbox;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = "CHRONOTICK_TEST_SANDBOX_FOLDER";

/// Runs one test of this file in a process of its own, with a folder that has `open`, `kept` and `kept/secret`.
fn within(test: &str, folder: &Path) -> Output {
    fs::create_dir_all(folder.join("kept")).unwrap();
    fs::create_dir_all(folder.join("open")).unwrap();
    fs::write(folder.join("kept/secret"), "secret").unwrap();
    fs::write(folder.join("read"), "read").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .output()
        .unwrap();
    fs::remove_dir_all(folder).unwrap();
    output
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("chronotick-sandbox-{name}-{}", std::process::id()))
}

/// Enters, inside the second process; `None` where the kernel has no sandbox to try.
fn enter() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os(FOLDER)?);
    let entered =
        Sandbox::new().read(folder.join("read")).write(folder.join("open")).read("/proc").enter().unwrap();
    if !entered.is_whole() {
        println!("skipped: {entered}");
        return None;
    }
    Some(folder)
}

#[test]
fn nothing_else_is_opened_and_nothing_is_run() {
    let output = within("tries_everything", &folder("files"));
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "run by the test above"]
fn tries_everything() {
    let Some(folder) = enter() else { return };
    let denied = |what: &str, result: std::io::Result<()>| {
        assert_eq!(result.map_err(|e| e.kind()), Err(ErrorKind::PermissionDenied), "{what}");
    };
    for path in ["/etc/passwd", "/etc/shadow", "/bin/sh", "/dev/mem", "/sys/kernel/notes"] {
        if Path::new(path).exists() {
            denied(path, fs::read(path).map(drop));
        }
    }
    denied("a secret", fs::read(folder.join("kept/secret")).map(drop));
    denied("a listing", fs::read_dir(folder.join("kept")).map(drop));
    denied("a new file", fs::write(folder.join("kept/new"), "x"));
    denied("a write to what may be read", fs::write(folder.join("read"), "x"));
    denied("removal", fs::remove_file(folder.join("kept/secret")));
    denied("another process", fs::read("/proc/1/mem").map(drop));
    denied("a program", Command::new("/bin/true").status().map(drop));
    // Also on a thread that began later.
    std::thread::scope(|s| {
        s.spawn(|| {
            denied("a secret, from a thread", fs::read(folder.join("kept/secret")).map(drop));
            denied("a program, from a thread", Command::new("/bin/true").status().map(drop));
        });
    });
    // SAFETY: no pointer is involved.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, -1);
    let time = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    // SAFETY: the structure lives, and its value is invalid, so that no clock could be set by it.
    assert_eq!(unsafe { libc::syscall(libc::SYS_clock_settime, libc::CLOCK_REALTIME, &raw const time) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
    // SAFETY: a structure of integers, for which zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call; nothing is asked for but what the kernel says.
    assert!(unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut timex) } >= 0);
    // ADJ_SETOFFSET by less than no microsecond: invalid, so that no clock could be set by it.
    (timex.modes, timex.time.tv_usec) = (0x0100, -1);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut timex) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    for sets in ["CapEff:\t", "CapPrm:\t", "CapInh:\t", "CapAmb:\t"] {
        let set = status.lines().find_map(|line| line.strip_prefix(sets)).unwrap();
        assert_eq!(u64::from_str_radix(set, 16).unwrap() >> 25 & 1, 0, "{sets}{set}");
    }
    // The x32 interface: programs, another process's memory, namespaces.
    #[cfg(target_arch = "x86_64")]
    for (call, argument) in [(520, 0), (545, 0), (539, 1), (540, 1), (libc::SYS_clone, libc::CLONE_NEWUSER)] {
        // SAFETY: no pointer but null is passed, and none of them does anything with that.
        assert_eq!(unsafe { libc::syscall(0x4000_0000 + call, argument, 0, 0, 0, 0) }, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM), "{call}");
    }

    assert_eq!(fs::read_to_string(folder.join("read")).unwrap(), "read");
    let open = folder.join("open");
    fs::create_dir(open.join("deeper")).unwrap();
    fs::write(open.join("deeper/one"), "one").unwrap();
    fs::rename(open.join("deeper/one"), open.join("two")).unwrap();
    assert_eq!(fs::read_to_string(open.join("two")).unwrap(), "one");
    drop(std::os::unix::net::UnixDatagram::bind(open.join("socket")).unwrap());
    fs::remove_file(open.join("socket")).unwrap();
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t2"));
}

#[test]
fn whoever_takes_it_over_ends_it() {
    for test in ["looks_into_another_process", "looks_by_the_other_interface"] {
        let output = within(test, &folder(test));
        let skipped = String::from_utf8_lossy(&output.stdout).contains("skipped:");
        assert!(skipped || output.status.signal() == Some(libc::SIGSYS), "{output:?}");
    }
}

#[test]
#[ignore = "run by the test above"]
fn looks_into_another_process() {
    if enter().is_some() {
        // SAFETY: no pointer is involved.
        unsafe { libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0) };
    }
}

#[test]
#[ignore = "run by the test above"]
fn looks_by_the_other_interface() {
    if cfg!(not(target_arch = "x86_64")) {
        println!("skipped: there is no x32 here");
    } else if enter().is_some() {
        // SAFETY: no pointer is involved: the ptrace of x32.
        unsafe { libc::syscall(0x4000_0000 + 521, libc::PTRACE_ATTACH, 1, 0, 0) };
    }
}
