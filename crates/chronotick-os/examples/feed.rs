//! Feeds a unit of NTP's shared memory clock and sockets of chrony's SOCK protocol with one and the same offset, ten times a
//! second until it is killed, for tests against other programs that read them:
//! `feed OFFSET_SECONDS SHM_UNIT SOCKET...`

use chronotick_os::ClockPair;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{Ordering, fence};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [offset, unit, sockets @ ..] = arguments.as_slice() else {
        eprintln!("usage: feed OFFSET_SECONDS SHM_UNIT SOCKET...");
        std::process::exit(2);
    };
    let offset: f64 = offset.parse().expect("an offset in seconds");
    let unit: i32 = unit.parse().expect("the number of a unit");
    // SAFETY: no pointers.
    let id = unsafe { libc::shmget(0x4e54_5030 + unit, 96, libc::IPC_CREAT | 0o600) };
    assert!(id >= 0, "no segment: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    assert!(address as isize != -1, "not attached: {}", std::io::Error::last_os_error());
    let segment = Segment(address.cast());
    let socket = UnixDatagram::unbound().expect("a socket");
    for count in 1.. {
        let system = ClockPair::now().system.as_nanos();
        segment.write(2 * count, system + (offset * 1e9) as i64, system);
        let datagram = datagram(system, offset);
        // Nobody there is nobody there yet.
        sockets.iter().for_each(|path| drop(socket.send_to(&datagram, path)));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn datagram(system: i64, offset: f64) -> Vec<u8> {
    let mut bytes = (system / 1_000_000_000).to_ne_bytes().to_vec();
    bytes.extend((system % 1_000_000_000 / 1_000).to_ne_bytes());
    bytes.extend(offset.to_ne_bytes());
    bytes.extend([0, 0, 0, 0x534f_434b].map(i32::to_ne_bytes).concat());
    bytes
}

/// A segment of 96 bytes, attached for writing.
struct Segment(*mut u32);

impl Segment {
    fn set(&self, byte: usize, value: i32) {
        // SAFETY: the segment has 24 aligned words and stays attached; `byte` is one of their places.
        unsafe { self.0.add(byte / 4).write_volatile(value as u32) };
    }

    fn write(&self, count: i32, clock: i64, receive: i64) {
        self.set(48, 0);
        self.set(4, count - 1);
        fence(Ordering::SeqCst);
        self.set(0, 1);
        for (seconds, micros, nanos, time) in [(8, 16, 52, clock), (24, 32, 56, receive)] {
            let (whole, part) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000) as i32);
            // SAFETY: two whole words, aligned to eight bytes, within the segment.
            unsafe { self.0.add(seconds / 4).cast::<i64>().write_volatile(whole) };
            self.set(micros, part / 1_000);
            self.set(nanos, part);
        }
        self.set(36, 0);
        self.set(40, -20);
        fence(Ordering::SeqCst);
        self.set(4, count);
        self.set(48, 1);
    }
}
