//! Steers the system clock for real, as the first process of a throw-away virtual machine: nothing else may run it. It says
//! what it found, line by line, and `PASSED` at the end. Whoever packs it into an initial RAM disk starts the machine with
//! `chronotick_throwaway_vm=1` on the kernel's command line. Where `/chronotick` and `/usr/sbin/hwclock` are on that disk, with what
//! they need, the command line corrects the clock by servers of this process, and sets the battery-backed clock.

use chronotick_core::{Claim, Course, Leap, Rate, Span};
use chronotick_os::{ClockPair, Steer, SystemClock};
use std::ffi::CStr;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DAY: i64 = 86_400;
const PROGRAM: &str = "/chronotick";

fn lag() -> Span {
    let pair = ClockPair::now();
    Span::from_nanos(pair.system.as_nanos()) - Span::from_nanos(pair.raw.as_nanos())
}

fn course(ppm: f64, slew: Span, synchronised: bool) -> Course {
    let claim = Claim {
        max_error: Span::from_micros(1_500),
        estimated_error: Span::from_micros(20),
        synchronised,
        leap: Leap::None,
    };
    Course { frequency: Rate::from_ppm(ppm), slew, claim }
}

fn expect(what: &str, found: Span, wanted: Span, tolerance: Span) {
    println!("{what}: {found} (wanted {wanted}, within {tolerance})");
    assert!((found - wanted).abs() <= tolerance, "{what}");
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn main() {
    let thrown_away = std::env::var("chronotick_throwaway_vm").is_ok_and(|value| value == "1");
    if std::process::id() != 1 || !thrown_away {
        eprintln!("this sets the clock: it runs as the first process of a throw-away virtual machine only");
        std::process::exit(1);
    }
    let mut clock = SystemClock::open().expect("the kernel tells of its clock");
    println!("at first: {:?}", clock.read().expect("read"));

    let before = lag();
    clock.step(Span::from_millis(1_500)).expect("steps ahead");
    expect("step ahead", lag() - before, Span::from_millis(1_500), Span::from_millis(5));
    let before = lag();
    clock.step(Span::from_millis(-700)).expect("steps back");
    expect("step back", lag() - before, Span::from_millis(-700), Span::from_millis(5));
    assert!(!clock.read().expect("read").synchronised, "a step leaves the clock unsynchronised");

    let kernel = clock.run(&course(0.0, Span::from_millis(2), true)).expect("runs");
    println!("told: {kernel:?}");
    assert!(kernel.synchronised && kernel.max_error >= Span::from_micros(1_500));
    let before = lag();
    wait(30);
    expect("slew by a quarter a second", lag() - before, Span::from_millis(2), Span::from_micros(200));
    assert_eq!(clock.read().expect("read").frequency, Rate::ZERO, "slewing leaves the frequency alone");
    let grown = clock.read().expect("read").max_error;
    println!("what is claimed has grown to {grown}");
    assert!(grown > Span::from_millis(10), "an error that nobody renews grows");

    // More than the kernel takes as a frequency is in the length of its tick, which the next order has to set right.
    let kernel = clock.run(&course(700.0, Span::ZERO, true)).expect("runs");
    assert!((kernel.frequency.as_ppm() - 700.0).abs() < 0.01, "{kernel:?}");
    let before = lag();
    wait(10);
    expect("700 ppm for 10 s", lag() - before, Span::from_millis(7), Span::from_micros(200));
    clock.run(&course(200.0, Span::ZERO, true)).expect("runs");
    let before = lag();
    wait(20);
    expect("200 ppm for 20 s", lag() - before, Span::from_millis(4), Span::from_micros(200));

    let kernel = clock.run(&course(0.0, Span::ZERO, false)).expect("runs");
    assert!(!kernel.synchronised, "what is not synchronised is not claimed to be");

    leap(&mut clock, "a leap second inserted", Leap::Insert, Span::from_secs(-1));
    leap(&mut clock, "a leap second deleted", Leap::Delete, Span::from_secs(1));
    if Path::new(PROGRAM).exists() {
        by_hand(&mut clock);
    } else {
        println!("skipped: there is no {PROGRAM} on this disk");
    }
    println!("PASSED");
}

/// Ten seconds before the end of a day a leap second is announced to the kernel, which has to make it then.
fn leap(clock: &mut SystemClock, what: &str, leap: Leap, wanted: Span) {
    let now = ClockPair::now().system.as_nanos() / 1_000_000_000;
    clock.step(Span::from_secs((now / DAY + 1) * DAY - 10 - now)).expect("steps");
    let announced = course(0.0, Span::ZERO, true);
    let announced = Course { claim: Claim { leap, ..announced.claim }, ..announced };
    let before = lag();
    clock.run(&announced).expect("runs");
    wait(20);
    expect(what, lag() - before, wanted, Span::from_millis(5));
    clock.run(&course(0.0, Span::ZERO, true)).expect("runs");
    // The kernel is ready for another only in a second in which none is announced.
    wait(3);
}

/// `monitor sync-time` and `monitor rtc --set`, by two servers of this process, two hours ahead of the
/// battery-backed clock.
fn by_hand(clock: &mut SystemClock) {
    let mount = |kind: &CStr, place: &CStr| {
        std::fs::create_dir_all(place.to_str().expect("ASCII")).expect("made");
        // SAFETY: four strings that outlive the call, and no data.
        let done = unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
        assert_eq!(done, 0, "{place:?}: {}", std::io::Error::last_os_error());
    };
    mount(c"proc", c"/proc");
    mount(c"sysfs", c"/sys");
    mount(c"devtmpfs", c"/dev");
    raise_loopback();
    let rtc = || -> i64 {
        let text = std::fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").expect("there is one");
        text.trim().parse().expect("a number")
    };
    let truth = Span::from_secs(rtc() + 7_200) - Span::from_nanos(ClockPair::now().raw.as_nanos());
    let servers = [serve(truth), serve(truth)];
    let off_by = |clock: &mut SystemClock, by: Span| clock.step(truth - by - lag()).expect("steps");

    off_by(clock, Span::from_millis(250));
    let (code, said) = monitor(&servers, "cooldown: 300", &["sync-time", "--json"]);
    assert!(
        code == 0 && said.contains("\"action\":\"step\"") && said.contains("\"done\":true"),
        "{code}: {said}"
    );
    expect("stepped by sync-time", lag() - truth, Span::ZERO, Span::from_millis(20));
    off_by(clock, Span::from_millis(40));
    let (code, said) = monitor(&servers, "cooldown: 300", &["sync-time", "--json"]);
    assert!(code == 2 && said.contains("waits 300 s"), "{code}: {said}");
    let before = lag();
    let (code, said) = monitor(&servers, "cooldown: 0\n  slew_rate_ppm: 5000", &["sync-time", "--json"]);
    assert!(code == 0 && said.contains("\"action\":\"slew\""), "{code}: {said}");
    wait(20);
    expect("slewed by sync-time", lag() - before, Span::from_millis(40), Span::from_millis(10));
    assert!(clock.read().expect("read").synchronised, "what is corrected is claimed to be");

    // The kernel writes the battery-backed clock by itself where it is told that the system clock is synchronised.
    expect("RTC by the kernel", Span::from_secs(rtc()) - system(), Span::ZERO, Span::from_secs(3));

    clock.run(&course(0.0, Span::ZERO, false)).expect("runs");
    let mut wrong = Command::new("/usr/sbin/hwclock");
    wrong.args(["--utc", "--set", "--date", "2020-01-01 00:00:00"]);
    assert!(wrong.status().is_ok_and(|status| status.success()), "hwclock sets the battery-backed clock");
    assert!(Span::from_secs(rtc()) - system() < Span::from_secs(-DAY), "it is wrong");
    let (_, said) = monitor(&servers, "cooldown: 300", &["rtc", "--set", "--json"]);
    assert!(said.contains("set to the system clock"), "{said}");
    expect("RTC after", Span::from_secs(rtc()) - system(), Span::ZERO, Span::from_secs(3));
}

fn system() -> Span {
    Span::from_nanos(ClockPair::now().system.as_nanos())
}

/// What `chronotick monitor` says, and its exit code.
fn monitor(servers: &[u16; 2], correction: &str, arguments: &[&str]) -> (i32, String) {
    let [a, b] = servers;
    let text = format!(
        "discipline: step\ncorrection:\n  {correction}\nclock_measurement:\n  ntp:\n    servers: [\"127.0.0.1:{a}\", \"127.0.0.1:{b}\"]\n"
    );
    std::fs::create_dir_all("/state").expect("made");
    std::fs::write("/config.yaml", text).expect("written");
    let common = ["--config", "/config.yaml", "--state-dir", "/state", "--runtime-dir", "/run", "monitor"];
    let output = Command::new(PROGRAM).args(common).args(arguments).env("PATH", "/usr/sbin").output();
    let output = output.expect("starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("said: {said}");
    (output.status.code().unwrap_or(-1), said)
}

/// An NTP server of stratum 1 whose time is the raw clock plus `truth`; its port.
fn serve(truth: Span) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
    let port = socket.local_addr().expect("is bound").port();
    std::thread::spawn(move || {
        let mut packet = [0; 48];
        while let Ok((48.., client)) = socket.recv_from(&mut packet) {
            let utc = truth + Span::from_nanos(ClockPair::now().raw.as_nanos());
            let seconds = utc.as_nanos().div_euclid(1_000_000_000) + 2_208_988_800;
            let fraction = (utc.as_nanos().rem_euclid(1_000_000_000) << 32) / 1_000_000_000;
            let now = ((seconds as u64) << 32 | fraction as u64).to_be_bytes();
            let mut reply = [0; 48];
            // Server, version 4, stratum 1, precision 2^-20 s (RFC 5905 §7.3).
            reply[..4].copy_from_slice(&[0x24, 1, packet[2], 0xec]);
            reply[12..16].copy_from_slice(b"TEST");
            reply[16..24].copy_from_slice(&now);
            reply[24..32].copy_from_slice(&packet[40..48]);
            reply[32..40].copy_from_slice(&now);
            reply[40..48].copy_from_slice(&now);
            if socket.send_to(&reply, client).is_err() {
                return;
            }
        }
    });
    port
}

fn raise_loopback() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: an ifreq is made of integers and a union of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the kernel reads one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &request) };
    assert_eq!(done, 0, "loopback: {}", std::io::Error::last_os_error());
}
