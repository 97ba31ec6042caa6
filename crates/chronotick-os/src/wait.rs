//! Waiting for sockets and for other threads, in `poll(2)`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use chronotick_core::Span;

/// Waits until one of the descriptors can be read or has an error to report, or the time is up; `None` waits for ever.
///
/// Returns which, by their places in `fds`: none when the time was up or a signal came. The time is rounded up to a
/// millisecond, so that nobody wakes too early and spins.
///
/// # Errors
/// As `poll(2)`.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Span>) -> io::Result<Vec<usize>> {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array has as many elements as are told, and outlives the call.
    let rc = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis(timeout)) };
    if rc < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(vec![]) } else { Err(error) };
    }
    Ok((0..polled.len()).filter(|&i| polled[i].revents != 0).collect())
}

fn millis(timeout: Option<Span>) -> libc::c_int {
    let Some(timeout) = timeout else { return -1 };
    let millis =
        timeout.as_nanos().max(0).div_euclid(1_000_000) + i64::from(timeout.as_nanos() % 1_000_000 > 0);
    libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
}

/// Ends another thread's [`wait`].
///
/// ```
/// use chronotick_os::{Waker, wait};
/// use std::os::fd::AsFd;
/// let waker = Waker::new().unwrap();
/// std::thread::scope(|s| {
///     s.spawn(|| waker.wake());
///     assert_eq!(wait(&[waker.as_fd()], None).unwrap(), [0]);
/// });
/// waker.rest();
/// ```
#[derive(Debug)]
pub struct Waker {
    waiting: UnixStream,
    waking: UnixStream,
}

impl Waker {
    /// # Errors
    /// If there are no descriptors left.
    pub fn new() -> io::Result<Waker> {
        let (waiting, waking) = UnixStream::pair()?;
        waiting.set_nonblocking(true)?;
        waking.set_nonblocking(true)?;
        Ok(Waker { waiting, waking })
    }

    /// Wakes whoever waits for it now or next.
    pub fn wake(&self) {
        // A full buffer means that it is awake already.
        let _ = (&self.waking).write(&[1]);
    }

    /// Takes note of all calls of [`wake`](Waker::wake) so far.
    pub fn rest(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.waiting).read(&mut bytes), Ok(n) if n > 0) {}
    }
}

/// What to [`wait`] for.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_wakes_until_it_rests() {
        let waker = Waker::new().unwrap();
        let ready = || wait(&[waker.as_fd()], Some(Span::ZERO)).unwrap();
        assert!(ready().is_empty());
        (0..100_000).for_each(|_| waker.wake());
        assert_eq!(ready(), [0]);
        waker.rest();
        assert!(ready().is_empty());
    }

    #[test]
    fn waits_are_never_too_short() {
        assert_eq!(millis(None), -1);
        assert_eq!(millis(Some(Span::from_nanos(-5))), 0);
        assert_eq!(millis(Some(Span::from_nanos(1))), 1);
        assert_eq!(millis(Some(Span::from_millis(7))), 7);
        assert_eq!(millis(Some(Span::MAX)), libc::c_int::MAX);
    }
}
