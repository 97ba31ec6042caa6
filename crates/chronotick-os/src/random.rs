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
    getrandom::u64().unwrap_or_else(|e| panic!("no random numbers from the kernel: {e}"))
}
