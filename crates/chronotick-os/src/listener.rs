//! A UDP socket that many clients ask: when each datagram arrived and when each reply left by the kernel's stamps, and
//! replies that leave from the address that was asked.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use chronotick_core::Timestamp;

use crate::socket::{address, checked, set_flags, uninterrupted};
use crate::stamping::{Stamping, enable_numbered, local_of, number_of, stamp_of};

/// A nonblocking UDP socket on one local address and port.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use chronotick_os::{StampedListener, wait};
/// use std::os::fd::AsFd;
///
/// let mut listener = StampedListener::bind("127.0.0.1:0".parse().unwrap())?;
/// let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"request", listener.local_addr()?)?;
///
/// wait(&[listener.as_fd()], None)?;
/// let mut buffer = [0; 512];
/// if let Some(arrival) = listener.recv(&mut buffer)? {
///     assert_eq!(&buffer[..arrival.len], b"request");
///     listener.send(b"reply", &arrival)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StampedListener {
    fd: OwnedFd,
    stamping: Stamping,
    /// How many datagrams have left: the kernel numbers its stamps so.
    sent: u32,
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its bytes; what did not fit into the buffer is cut off.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address of this machine that it was sent to, where the kernel tells.
    pub to: Option<IpAddr>,
    /// The system clock at its arrival by the kernel's stamp.
    pub stamp: Option<Timestamp>,
}

impl StampedListener {
    /// Binds a socket. One on an IPv6 address does not hear IPv4, so that both can have the same port.
    ///
    /// # Errors
    /// As `socket(2)` and `bind(2)`: the port is taken or privileged, there is no such address.
    pub fn bind(local: SocketAddr) -> io::Result<StampedListener> {
        let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: no pointers.
        let fd = checked(unsafe { libc::socket(family, libc::SOCK_DGRAM, 0) })?;
        // SAFETY: the kernel has just given the descriptor to us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set_flags(&fd)?;
        if local.is_ipv6() {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        ask_for_local_address(&fd, local.is_ipv4());
        address(local, |address, len| {
            // SAFETY: the address is valid for the length told, and outlives the call.
            checked(unsafe { libc::bind(fd.as_raw_fd(), address, len) })
        })?;
        let stamping = enable_numbered(fd.as_fd());
        Ok(StampedListener { fd, stamping, sent: 0 })
    }

    /// Who stamps its packets, as far as the kernel promised.
    pub fn stamping(&self) -> Stamping {
        self.stamping
    }

    /// The address and port that it is bound to.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        // SAFETY: plain numbers, for which zeros are valid.
        let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&name) as libc::socklen_t;
        // SAFETY: the structure has the length told and outlives the call.
        checked(unsafe { libc::getsockname(self.fd.as_raw_fd(), (&raw mut name).cast(), &mut len) })?;
        socket_addr(&name).ok_or_else(|| ErrorKind::Unsupported.into())
    }

    /// Takes in one datagram, if one has come.
    ///
    /// # Errors
    /// As `recvmsg(2)`.
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        // SAFETY: plain numbers, for which zeros are valid.
        let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        self.message(buffer, &mut name, 0, |message, len| {
            Some(Arrival {
                len,
                from: socket_addr(&name_of(message)?)?,
                to: local_of(message),
                stamp: stamp_of(message),
            })
        })
    }

    /// Answers an arrival, from the address that it was sent to. Gives the number that [`departure`] will tell of it.
    ///
    /// [`departure`]: StampedListener::departure
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub fn send(&mut self, datagram: &[u8], to: &Arrival) -> io::Result<u32> {
        let mut control = [0u64; 8];
        let mut part = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
        address(to.from, |name, len| {
            // SAFETY: a msghdr of zeros is valid: no name, no parts, no control messages.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_name = name.cast_mut().cast();
            message.msg_namelen = len;
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            put_local(&mut message, &mut control, to.to);
            // SAFETY: name, part and control buffer are valid for the lengths told, and outlive the call.
            uninterrupted(|| unsafe { libc::sendmsg(self.fd.as_raw_fd(), &message, 0) })
        })?;
        let number = self.sent;
        self.sent = self.sent.wrapping_add(1);
        Ok(number)
    }

    /// The next departure that the kernel has stamped: its number, and the system clock as it left. Until there are no
    /// more of them the socket does not rest.
    ///
    /// # Errors
    /// As `recvmsg(2)`.
    pub fn departure(&mut self) -> io::Result<Option<(u32, Timestamp)>> {
        if self.stamping != Stamping::Both {
            return Ok(None);
        }
        // SAFETY: plain numbers, for which zeros are valid.
        let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        self.message(&mut [0; 64], &mut name, errors_only(), |message, _| {
            Some((number_of(message)?, stamp_of(message)?))
        })
    }

    /// One message, and what `read` makes of it; `None` if there is none or it makes nothing of it.
    fn message<T>(
        &self,
        buffer: &mut [u8],
        name: &mut libc::sockaddr_storage,
        flags: libc::c_int,
        read: impl FnOnce(&libc::msghdr, usize) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut control = [0u64; 48];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr of zeros is valid: no name, no parts, no control messages.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = std::ptr::from_mut(name).cast();
        message.msg_namelen = size_of_val(name) as libc::socklen_t;
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: name, part and control buffer are valid for the lengths told, and outlive the call.
        let received = uninterrupted(|| unsafe { libc::recvmsg(self.fd.as_raw_fd(), &mut message, flags) });
        match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok(len) => Ok(read(&message, len)),
        }
    }
}

/// What to [`wait`](crate::wait) for.
impl AsFd for StampedListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(target_os = "linux")]
fn errors_only() -> libc::c_int {
    libc::MSG_ERRQUEUE
}
#[cfg(not(target_os = "linux"))]
fn errors_only() -> libc::c_int {
    0
}

fn set(fd: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let value: libc::c_int = 1;
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value outlives the call and has the length that is told.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), len) })?;
    Ok(())
}

/// A copy of the sender's address of a received message.
fn name_of(message: &libc::msghdr) -> Option<libc::sockaddr_storage> {
    let enough = message.msg_namelen as usize >= size_of::<libc::sa_family_t>();
    // SAFETY: `msg_name` points to a sockaddr_storage that lives as long as the message is read.
    enough.then(|| unsafe { message.msg_name.cast::<libc::sockaddr_storage>().read() })
}

fn socket_addr(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which a sockaddr_storage has room and alignment for.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, of a sockaddr_in6.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(target_os = "linux")]
mod local {
    use super::set;
    use std::net::IpAddr;
    use std::os::fd::OwnedFd;

    /// Asks to be told which address a datagram was sent to. Without that replies leave from the route's address.
    pub(super) fn ask_for_local_address(fd: &OwnedFd, v4: bool) {
        let _ = if v4 {
            set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO)
        } else {
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        };
    }

    /// Lets a message leave from this address.
    pub(super) fn put_local(message: &mut libc::msghdr, control: &mut [u64; 8], local: Option<IpAddr>) {
        let Some(local) = local else { return };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(control) as _;
        match local {
            IpAddr::V4(ip) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
                put(message, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(ip) => {
                let source = libc::in6_addr { s6_addr: ip.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                put(message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// The only control message of a message whose control buffer has room for it.
    fn put<T>(message: &mut libc::msghdr, level: libc::c_int, kind: libc::c_int, value: T) {
        // SAFETY: the control buffer is aligned as a header needs and has 64 bytes, more than a header and either of
        // the structures above; the lengths are computed from the same type.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
            message.msg_controllen = libc::CMSG_SPACE(size_of::<T>() as u32) as _;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod local {
    use std::net::IpAddr;
    use std::os::fd::OwnedFd;

    pub(super) fn ask_for_local_address(_fd: &OwnedFd, _v4: bool) {}
    pub(super) fn put_local(_message: &mut libc::msghdr, _control: &mut [u64; 8], _local: Option<IpAddr>) {}
}

use local::{ask_for_local_address, put_local};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClockPair, wait};
    use chronotick_core::Span;
    use std::net::UdpSocket;

    fn next(listener: &mut StampedListener, buffer: &mut [u8]) -> Arrival {
        for _ in 0..100 {
            wait(&[listener.as_fd()], Some(Span::from_secs(5))).unwrap();
            if let Some(arrival) = listener.recv(buffer).unwrap() {
                return arrival;
            }
            while listener.departure().unwrap().is_some() {}
        }
        panic!("the listener has nothing and does not rest");
    }

    #[test]
    fn each_client_gets_its_reply_from_the_address_that_it_asked() {
        for (any, asked) in [("0.0.0.0:0", "127.0.0.3"), ("[::]:0", "::1")] {
            let Ok(mut listener) = StampedListener::bind(any.parse().unwrap()) else {
                eprintln!("skipped {any}: this machine does not have it");
                continue;
            };
            let server = SocketAddr::new(asked.parse().unwrap(), listener.local_addr().unwrap().port());
            let clients: Vec<UdpSocket> = (0..3)
                .map(|_| UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap())
                .collect();
            for (i, client) in clients.iter().enumerate() {
                client.connect(server).unwrap();
                client.send(&[i as u8]).unwrap();
            }
            for _ in &clients {
                let mut buffer = [0; 64];
                let before = ClockPair::now();
                let arrival = next(&mut listener, &mut buffer);
                if cfg!(target_os = "linux") {
                    assert_eq!(arrival.to, Some(server.ip()));
                }
                assert!(arrival.stamp.is_none_or(|s| (s - before.system).abs() < Span::from_secs(60)));
                listener.send(&buffer[..arrival.len], &arrival).unwrap();
            }
            for (i, client) in clients.iter().enumerate() {
                // A connected socket hears nobody but the address that it asked.
                client.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
                let mut buffer = [0; 8];
                assert_eq!((client.recv(&mut buffer).unwrap(), buffer[0]), (1, i as u8));
            }
        }
    }

    #[test]
    fn departures_are_told_by_number_and_then_the_listener_rests() {
        let mut listener = StampedListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        if listener.stamping() != Stamping::Both {
            eprintln!("skipped: {}", listener.stamping());
            return;
        }
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut told = Vec::new();
        for _ in 0..5 {
            client.send_to(b"x", listener.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8];
            let arrival = next(&mut listener, &mut buffer);
            let before = ClockPair::now().system;
            let number = listener.send(b"y", &arrival).unwrap();
            while let Some((stamped, at)) = listener.departure().unwrap() {
                assert!(stamped <= number && (at - before).abs() < Span::from_secs(60));
                told.push(stamped);
            }
        }
        assert_eq!(told, [0, 1, 2, 3, 4]);
        assert!(wait(&[listener.as_fd()], Some(Span::ZERO)).unwrap().is_empty());
    }
}
