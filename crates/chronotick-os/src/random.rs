//! Random numbers that nobody else can guess, from the kernel.

/// 64 random bits, for a nonce.
///
/// # Panics
/// If the kernel has none to give: a nonce that can be guessed is worse than none.
///
/// ```
/// assert_ne!(chronotick_os::random_u64(), chronotick_os::random_u64());
/// ```
pub fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer has as many bytes as are asked for. Up to 256 bytes come at once, uninterrupted.
    let rc = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) };
    assert_eq!(rc, 0, "getentropy: {}", std::io::Error::last_os_error());
    u64::from_ne_bytes(bytes)
}
