//! The priority of a thread that may wait.

use std::io;

/// Lets every other thread go first from now on, those of other processes too. Threads that the calling one starts inherit
/// it on Linux; where priorities are per process it does nothing.
///
/// # Errors
/// As `setpriority(2)`.
///
/// ```
/// std::thread::spawn(|| chronotick_os::yield_to_others().unwrap()).join().unwrap();
/// ```
pub fn yield_to_others() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const LOWEST: libc::c_int = 19;
        // SAFETY: the call takes numbers only; on Linux 0 is the calling thread.
        let rc = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
        if rc != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
