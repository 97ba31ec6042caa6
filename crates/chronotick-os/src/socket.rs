//! A UDP socket to one server that tells when a request left and its reply arrived, on the raw clock.
//!
//! The kernel stamps packets with the system clock, which somebody may step at any moment. A pair of raw and system
//! readings on either side of the exchange converts the stamps and shows a step between the pairs; then, and wherever
//! a stamp does not come or cannot be true, the program's own reading of the raw clock stands in for it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use chronotick_core::{Exchange, Rate, RawInstant, Span, Stamps, Timestamp};

use crate::stamping::{Stamping, enable, stamp_of};
use crate::{ClockPair, raw_now};

/// A UDP socket that is connected to one server, so that the kernel drops what comes from elsewhere and reports when
/// nobody listens there.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use chronotick_os::{TimestampedSocket, wait};
/// use std::os::fd::AsFd;
///
/// let server = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let mut socket = TimestampedSocket::connect(server.local_addr()?)?;
/// socket.send(b"request")?;
///
/// let mut buffer = [0; 512];
/// let (len, client) = server.recv_from(&mut buffer)?;
/// server.send_to(&buffer[..len], client)?;
///
/// wait(&[socket.as_fd()], None)?;
/// if let Some((datagram, exchange)) = socket.recv(&mut buffer)? {
///     assert_eq!(datagram, b"request");
///     assert!(exchange.departed <= exchange.arrived);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TimestampedSocket {
    server: SocketAddr,
    fd: OwnedFd,
    stamping: Stamping,
    departure: Option<Departure>,
    /// Something has come since the last departure.
    answered: bool,
}

/// What is known of the datagram sent last.
#[derive(Clone, Copy, Debug)]
struct Departure {
    /// Both clocks before it left.
    clocks: ClockPair,
    /// The raw clock immediately before the system call.
    raw: RawInstant,
    /// The kernel's stamp, once it has come.
    kernel: Option<Timestamp>,
}

impl TimestampedSocket {
    /// Opens a nonblocking socket to a server, from a port of the kernel's choice.
    ///
    /// # Errors
    /// As `socket(2)` and `connect(2)`: no descriptors left, no such address family, no route.
    pub fn connect(server: SocketAddr) -> io::Result<TimestampedSocket> {
        let family = if server.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: no pointers.
        let fd = checked(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) })?;
        // SAFETY: the kernel has just given the descriptor to us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set_flags(&fd)?;
        connect(&fd, server)?;
        let stamping = enable(fd.as_fd());
        Ok(TimestampedSocket { server, fd, stamping, departure: None, answered: true })
    }

    /// Who stamps its packets, as far as the kernel promised.
    pub fn stamping(&self) -> Stamping {
        self.stamping
    }

    /// Sends a datagram. The exchange of the next reply begins here.
    ///
    /// If nothing has come back since the last one, it leaves from a new port: this machine's addresses may have
    /// changed under the old one, or something on the way may have forgotten it.
    ///
    /// # Errors
    /// As `send(2)`.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if !self.answered
            && let Ok(fresh) = TimestampedSocket::connect(self.server)
        {
            *self = fresh;
        }
        self.departure = None;
        self.answered = false;
        self.try_send(datagram).or_else(|error| match error.kind() {
            // The kernel reports what became of an earlier datagram in place of sending this one.
            ErrorKind::ConnectionRefused => self.try_send(datagram),
            _ => Err(error),
        })
    }

    /// Takes in one datagram, if one has come, and the local half of its exchange: since the last
    /// [`send`](TimestampedSocket::send), or without any length if nothing was sent.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody listens there; `InvalidData` if the datagram is longer than the buffer, and it is
    /// dropped; otherwise as `recvmsg(2)`.
    pub fn recv<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<Option<(&'b [u8], Exchange)>> {
        let received = self.receive(buffer, 0);
        let arrived = raw_now();
        let after = ClockPair::now();
        self.fetch_departure_stamp();
        let Some((len, stamp)) = received? else { return Ok(None) };
        self.answered = true;
        let exchange = exchange(self.departure, arrived, stamp, after);
        Ok(Some((&buffer[..len], exchange)))
    }

    fn try_send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let clocks = ClockPair::now();
        let raw = raw_now();
        uninterrupted(|| {
            // SAFETY: the datagram is valid for its length.
            unsafe { libc::send(self.fd.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) }
        })?;
        self.departure = Some(Departure { clocks, raw, kernel: None });
        self.fetch_departure_stamp();
        Ok(())
    }

    /// The stamp of a departure comes back in the error queue, mostly at once, and certainly before a reply. One that
    /// is older than the departure is an earlier datagram's.
    #[cfg(target_os = "linux")]
    fn fetch_departure_stamp(&mut self) {
        if self.stamping != Stamping::Both || self.departure.is_some_and(|d| d.kernel.is_some()) {
            return;
        }
        let fetched = self.receive(&mut [0; 64], libc::MSG_ERRQUEUE);
        if let (Ok(Some((_, Some(stamp)))), Some(departure)) = (fetched, &mut self.departure) {
            let oldest = departure.clocks.system - departure.clocks.slack;
            departure.kernel = (stamp >= oldest).then_some(stamp);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn fetch_departure_stamp(&mut self) {}

    /// One message and the kernel's stamp on it; `None` if there is none.
    fn receive(
        &self,
        buffer: &mut [u8],
        flags: libc::c_int,
    ) -> io::Result<Option<(usize, Option<Timestamp>)>> {
        let mut control = [0u64; 32]; // Two messages have room, of three timespecs and of an extended error.
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr of zeros is valid: no name, no parts, no control messages.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the parts and the control buffer are valid for the lengths told, and outlive the call.
        let received = uninterrupted(|| unsafe { libc::recvmsg(self.fd.as_raw_fd(), &mut message, flags) });
        match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok(_) if flags == 0 && message.msg_flags & libc::MSG_TRUNC != 0 => {
                let why = format!("a datagram longer than {} bytes was dropped", buffer.len());
                Err(io::Error::new(ErrorKind::InvalidData, why))
            }
            Ok(len) => Ok(Some((len, stamp_of(&message)))),
        }
    }
}

/// What to [`wait`](crate::wait) for.
impl AsFd for TimestampedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The fastest slew of the kernel's own discipline (500 ppm, `adjtimex(2)`). What differs by more between two pairs is
/// a step, or a slew so fast that the program's readings are the better stamps.
const FASTEST_SLEW: Rate = Rate::from_bits((1 << 48) / 2_000);

/// The local half of an exchange, by the kernel's stamps as far as they can be believed.
fn exchange(
    sent: Option<Departure>,
    read: RawInstant,
    stamp: Option<Timestamp>,
    after: ClockPair,
) -> Exchange {
    let plain = |departed| Exchange {
        departed,
        arrived: read,
        stamps: Stamps::User,
        uncertainty: Span::from_nanos(1),
        received: after.raw.max(read),
        about: after.system,
    };
    let Some(sent) = sent else { return plain(read) };
    let before = sent.clocks;
    let slack = before.slack + after.slack + Span::from_nanos(1);
    let elapsed = after.raw - before.raw;
    let stepped = ((after.system - before.system) - elapsed).abs() > slack + FASTEST_SLEW.over(elapsed.abs());
    if stepped {
        return plain(sent.raw);
    }
    // Each stamp by the pair beside it: the less time between them, the less can have happened to the system clock.
    let credible = |raw: &RawInstant| sent.raw - slack <= *raw && *raw <= read + slack;
    let kernel_departed = sent.kernel.map(|stamp| before.raw + (stamp - before.system)).filter(credible);
    let kernel_arrived = stamp.map(|stamp| after.raw + (stamp - after.system)).filter(credible);
    let (departed, arrived) = (kernel_departed.unwrap_or(sent.raw), kernel_arrived.unwrap_or(read));
    if departed > arrived {
        return plain(sent.raw);
    }
    let kernel = kernel_departed.is_some() && kernel_arrived.is_some();
    let stamps = if kernel { Stamps::Kernel } else { Stamps::User };
    Exchange { arrived, stamps, uncertainty: slack, ..plain(departed) }
}

pub(crate) fn set_flags(fd: &OwnedFd) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: no pointers; the descriptor is open.
    let flags = checked(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    // SAFETY: as above.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

fn connect(fd: &OwnedFd, server: SocketAddr) -> io::Result<()> {
    address(server, |address, len| {
        // SAFETY: the address is valid for the length told, and outlives the call.
        checked(unsafe { libc::connect(fd.as_raw_fd(), address, len) })
    })?;
    Ok(())
}

/// Calls the kernel with an address as it wants to have it.
pub(crate) fn address<T>(
    of: SocketAddr,
    call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> T,
) -> T {
    // SAFETY: both structures are plain numbers, for which zeros are valid.
    let (mut v4, mut v6): (libc::sockaddr_in, libc::sockaddr_in6) = unsafe { std::mem::zeroed() };
    let (address, len) = match of {
        SocketAddr::V4(of) => {
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = of.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(of.ip().octets());
            ((&raw const v4).cast(), size_of_val(&v4))
        }
        SocketAddr::V6(of) => {
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = of.port().to_be();
            v6.sin6_addr.s6_addr = of.ip().octets();
            v6.sin6_flowinfo = of.flowinfo();
            v6.sin6_scope_id = of.scope_id();
            ((&raw const v6).cast(), size_of_val(&v6))
        }
    };
    call(address, len as libc::socklen_t)
}

pub(crate) fn checked(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Repeats a system call that a signal interrupts.
pub(crate) fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(done) = usize::try_from(call()) {
            return Ok(done);
        }
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;
    use std::net::UdpSocket;

    fn raw(micros: i64) -> RawInstant {
        RawInstant::from_nanos(micros * 1_000)
    }
    fn system(micros: i64) -> Timestamp {
        Timestamp::from_nanos(1_700_000_000_000_000_000 + micros * 1_000)
    }
    fn pair(raw_micros: i64, system_micros: i64) -> ClockPair {
        ClockPair { raw: raw(raw_micros), system: system(system_micros), slack: Span::from_nanos(50) }
    }
    /// Both clocks at 0; the call at 1 µs; the kernel's stamp as given.
    fn departure(kernel: Option<i64>) -> Option<Departure> {
        Some(Departure { clocks: pair(0, 0), raw: raw(1), kernel: kernel.map(system) })
    }
    fn ends(e: Exchange) -> (RawInstant, RawInstant, Stamps) {
        (e.departed, e.arrived, e.stamps)
    }

    #[test]
    fn stamps_of_the_kernel_are_carried_over_to_the_raw_clock() {
        let e = exchange(departure(Some(20)), raw(10_100), Some(system(10_010)), pair(10_101, 10_101));
        assert_eq!(ends(e), (raw(20), raw(10_010), Stamps::Kernel));
        assert_eq!(e.uncertainty, Span::from_nanos(101));
        assert_eq!((e.received, e.about), (raw(10_101), system(10_101)));
    }

    #[test]
    fn a_slewed_system_clock_does_not_matter() {
        let e = exchange(departure(Some(20)), raw(10_100), Some(system(10_014)), pair(10_101, 10_105));
        assert_eq!(ends(e), (raw(20), raw(10_010), Stamps::Kernel));
    }

    #[test]
    fn after_a_step_of_the_system_clock_the_program_stamps() {
        for step in [-3_600_000_000, -50, 50, 3_600_000_000] {
            let after = pair(10_101, 10_101 + step);
            for stamp in [system(10_010), system(10_010 + step)] {
                let e = exchange(departure(Some(20)), raw(10_100), Some(stamp), after);
                assert_eq!(ends(e), (raw(1), raw(10_100), Stamps::User), "{step}");
            }
        }
    }

    #[test]
    fn one_stamp_is_better_than_none() {
        let after = pair(10_101, 10_101);
        let e = exchange(departure(None), raw(10_100), Some(system(10_010)), after);
        assert_eq!(ends(e), (raw(1), raw(10_010), Stamps::User));
        let e = exchange(departure(Some(20)), raw(10_100), None, after);
        assert_eq!(ends(e), (raw(20), raw(10_100), Stamps::User));
    }

    #[test]
    fn stamps_that_cannot_be_true_are_not_believed() {
        let after = pair(10_101, 10_101);
        let e = exchange(departure(Some(-5)), raw(10_100), Some(system(10_200)), after);
        assert_eq!(ends(e), (raw(1), raw(10_100), Stamps::User));
        let e = exchange(departure(Some(500)), raw(10_100), Some(system(400)), after);
        assert_eq!(ends(e), (raw(1), raw(10_100), Stamps::User));
        let e = exchange(None, raw(10_100), Some(system(10_010)), after);
        assert_eq!(ends(e), (raw(10_100), raw(10_100), Stamps::User));
    }

    /// Waits for what comes next, without spinning.
    fn next<'b>(
        socket: &mut TimestampedSocket,
        buffer: &'b mut [u8; 64],
    ) -> io::Result<(&'b [u8], Exchange)> {
        for _ in 0..100 {
            wait(&[socket.as_fd()], Some(Span::from_secs(5)))?;
            let mut taken = [0; 64];
            if let Some((datagram, exchange)) = socket.recv(&mut taken)? {
                let len = datagram.len();
                *buffer = taken;
                return Ok((&buffer[..len], exchange));
            }
        }
        panic!("the socket has nothing and does not rest");
    }

    fn echo(server: &UdpSocket) {
        let mut buffer = [0; 2048];
        let (len, client) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..len], client).unwrap();
    }

    #[test]
    fn an_exchange_lies_between_the_calls_and_the_socket_rests_afterwards() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(server) = UdpSocket::bind(address) else {
                eprintln!("skipped {address}: this machine does not have it");
                continue;
            };
            let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
            for request in [b"one", b"two"] {
                let before = raw_now();
                socket.send(request).unwrap();
                echo(&server);
                let mut buffer = [0; 64];
                let (datagram, e) = next(&mut socket, &mut buffer).unwrap();
                assert_eq!(datagram, request);
                let slack = e.uncertainty;
                assert!(
                    before <= e.departed + slack && e.departed <= e.arrived && e.arrived <= raw_now() + slack
                );
                assert!(wait(&[socket.as_fd()], Some(Span::ZERO)).unwrap().is_empty());
            }
        }
    }

    #[test]
    fn the_kernel_stamps_what_it_promised_to() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
        if socket.stamping() != Stamping::Both {
            eprintln!("skipped: {}", socket.stamping());
            return;
        }
        // Linux begins to stamp arrivals a little after the first socket of the machine has asked for it.
        let stamped = (0..1_000).any(|_| {
            socket.send(b"request").unwrap();
            echo(&server);
            std::thread::sleep(std::time::Duration::from_millis(1));
            next(&mut socket, &mut [0; 64]).unwrap().1.stamps == Stamps::Kernel
        });
        assert!(stamped);
    }

    #[test]
    fn many_requests_without_a_reply_leave_nothing_behind() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
        (0..50).for_each(|_| socket.send(b"request").unwrap());
        while !wait(&[socket.as_fd()], Some(Span::ZERO)).unwrap().is_empty() {
            assert!(socket.recv(&mut [0; 64]).unwrap().is_none());
        }
    }

    #[test]
    fn silence_changes_the_port_and_answers_do_not() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
        let mut port = |answered: bool| {
            socket.send(b"request").unwrap();
            let (_, client) = server.recv_from(&mut [0; 64]).unwrap();
            if answered {
                server.send_to(b"reply", client).unwrap();
                next(&mut socket, &mut [0; 64]).unwrap();
            }
            client.port()
        };
        let (first, second, third) = (port(true), port(false), port(false));
        assert!(first == second && second != third);
    }

    #[test]
    fn strangers_are_not_heard() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
        socket.send(b"request").unwrap();
        let (_, client) = server.recv_from(&mut [0; 64]).unwrap();
        stranger.send_to(b"forged", client).unwrap();
        server.send_to(b"honest", client).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(next(&mut socket, &mut buffer).unwrap().0, b"honest");
        assert!(socket.recv(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn a_closed_port_is_reported_and_does_not_block_the_next_request() {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut socket = TimestampedSocket::connect(address).unwrap();
        socket.send(b"request").unwrap();
        let error = next(&mut socket, &mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        socket.send(b"request").unwrap();
        // The refusal of the second waits in the socket; the third goes out all the same.
        socket.send(b"request").unwrap();
    }

    #[test]
    fn what_does_not_fit_is_dropped_with_a_reason() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = TimestampedSocket::connect(server.local_addr().unwrap()).unwrap();
        socket.send(&[7; 65]).unwrap();
        echo(&server);
        let error = next(&mut socket, &mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("64 bytes"), "{error}");
        assert!(socket.recv(&mut [0; 64]).unwrap().is_none());
    }
}
