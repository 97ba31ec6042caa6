//! The kernel's stamps on packets: asking for them, and reading them from control messages.

use std::fmt;

/// Who stamps the packets of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamping {
    /// The kernel, on departure and on arrival (`SO_TIMESTAMPING`).
    Both,
    /// The kernel on arrival only (`SO_TIMESTAMPNS`).
    Arrival,
    /// The program, around its system calls.
    Program,
}

impl fmt::Display for Stamping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stamping::Both => "the kernel stamps departure and arrival",
            Stamping::Arrival => "the kernel stamps arrival only",
            Stamping::Program => "the program stamps departure and arrival",
        })
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use super::Stamping;
    use chronotick_core::Timestamp;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// Asks for the best stamps that the kernel is willing to give.
    pub(crate) fn enable(fd: BorrowedFd<'_>) -> Stamping {
        enable_with(fd, 0)
    }

    /// The same for a socket of whose departures each has a number, from 0 on.
    pub(crate) fn enable_numbered(fd: BorrowedFd<'_>) -> Stamping {
        enable_with(fd, libc::SOF_TIMESTAMPING_OPT_ID)
    }

    fn enable_with(fd: BorrowedFd<'_>, further: libc::c_uint) -> Stamping {
        let flags = further
            | libc::SOF_TIMESTAMPING_SOFTWARE
            | libc::SOF_TIMESTAMPING_RX_SOFTWARE
            | libc::SOF_TIMESTAMPING_TX_SOFTWARE
            | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        if set(fd, libc::SO_TIMESTAMPING, flags as libc::c_int) {
            Stamping::Both
        } else if set(fd, libc::SO_TIMESTAMPNS, 1) {
            Stamping::Arrival
        } else {
            Stamping::Program
        }
    }

    fn set(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> bool {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value outlives the call and has the length that is told.
        let rc = unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len)
        };
        rc == 0
    }

    /// The kernel's stamp among the control messages of a received message: the system clock's reading.
    pub(crate) fn stamp_of(message: &libc::msghdr) -> Option<Timestamp> {
        // SCM_TIMESTAMPING has three stamps, the first of them the software's; SCM_TIMESTAMPNS has one.
        let is_stamp = |level, kind| {
            level == libc::SOL_SOCKET && matches!(kind, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS)
        };
        let time: libc::timespec = control(message, is_stamp)?;
        let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        (nanos > 0).then(|| Timestamp::from_nanos(nanos))
    }

    /// The number of the departure that a message of the error queue is about.
    pub(crate) fn number_of(message: &libc::msghdr) -> Option<u32> {
        let is_error = |level, kind| {
            matches!((level, kind), (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR))
        };
        let error: libc::sock_extended_err = control(message, is_error)?;
        (error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING).then_some(error.ee_data)
    }

    /// The beginning of the first control message of a kind. `T` is plain numbers, for which any bits are valid.
    fn control<T: Copy>(
        message: &libc::msghdr,
        wanted: impl Fn(libc::c_int, libc::c_int) -> bool,
    ) -> Option<T> {
        // SAFETY: `message` was filled by a successful recvmsg, so its control buffer is valid for `msg_controllen`
        // bytes, and the CMSG functions stay within them.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        while !header.is_null() {
            // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a complete header.
            let found = unsafe { *header };
            // SAFETY: only computes a length.
            let least = unsafe { libc::CMSG_LEN(size_of::<T>() as u32) };
            if wanted(found.cmsg_level, found.cmsg_type) && found.cmsg_len as u64 >= u64::from(least) {
                // SAFETY: the message has room for it, as was just checked; it may be unaligned.
                return Some(unsafe { libc::CMSG_DATA(header).cast::<T>().read_unaligned() });
            }
            // SAFETY: as for CMSG_FIRSTHDR.
            header = unsafe { libc::CMSG_NXTHDR(message, header) };
        }
        None
    }

    /// The address of this machine that a received message was sent to.
    pub(crate) fn local_of(message: &libc::msghdr) -> Option<IpAddr> {
        let v4 = |level, kind| (level, kind) == (libc::IPPROTO_IP, libc::IP_PKTINFO);
        let v6 = |level, kind| (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
        let of_v4 = |info: libc::in_pktinfo| Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into();
        let of_v6 = |info: libc::in6_pktinfo| Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
        control(message, v4).map(of_v4).or_else(|| control(message, v6).map(of_v6))
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::Stamping;
    use chronotick_core::Timestamp;
    use std::os::fd::BorrowedFd;

    pub(crate) fn enable(_fd: BorrowedFd<'_>) -> Stamping {
        Stamping::Program
    }
    pub(crate) fn enable_numbered(_fd: BorrowedFd<'_>) -> Stamping {
        Stamping::Program
    }
    pub(crate) fn stamp_of(_message: &libc::msghdr) -> Option<Timestamp> {
        None
    }
    pub(crate) fn number_of(_message: &libc::msghdr) -> Option<u32> {
        None
    }
    pub(crate) fn local_of(_message: &libc::msghdr) -> Option<std::net::IpAddr> {
        None
    }
}

pub(crate) use kernel::{enable, enable_numbered, local_of, number_of, stamp_of};
