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
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// Asks for the best stamps that the kernel is willing to give.
    pub(crate) fn enable(fd: BorrowedFd<'_>) -> Stamping {
        let flags = libc::SOF_TIMESTAMPING_SOFTWARE
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
        // SAFETY: `message` was filled by a successful recvmsg, so its control buffer is valid for `msg_controllen`
        // bytes, and the CMSG functions stay within them.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        while !header.is_null() {
            // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a complete header.
            let found = unsafe { *header };
            // SCM_TIMESTAMPING has three stamps, the first of them the software's; SCM_TIMESTAMPNS has one.
            let stamps = matches!(found.cmsg_type, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS);
            // SAFETY: only computes a length.
            let least = unsafe { libc::CMSG_LEN(size_of::<libc::timespec>() as u32) };
            if found.cmsg_level == libc::SOL_SOCKET && stamps && found.cmsg_len as u64 >= u64::from(least) {
                // SAFETY: the message has room for a timespec, as was just checked; it may be unaligned.
                let time = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
                let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
                return (nanos > 0).then(|| Timestamp::from_nanos(nanos));
            }
            // SAFETY: as for CMSG_FIRSTHDR.
            header = unsafe { libc::CMSG_NXTHDR(message, header) };
        }
        None
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
    pub(crate) fn stamp_of(_message: &libc::msghdr) -> Option<Timestamp> {
        None
    }
}

pub(crate) use kernel::{enable, stamp_of};
