//! Network Time Security (RFC 8915), without I/O: what client and server say to each other in NTP packets once they
//! share keys, and how they come by them.
//!
//! * [`ke`]: the messages of the key establishment, which travel in TLS 1.3.
//! * [`Session`]: the client's side, with its cookies.
//! * [`CookieJar`]: the server's side, which remembers nothing: the client carries the keys, sealed, in its cookies.
//!
//! There is one algorithm, AEAD_AES_SIV_CMAC_256, which everybody has (RFC 8915 §5.1).

mod cookie;
pub mod ke;
mod seal;
mod session;

pub use cookie::CookieJar;
pub(crate) use cookie::{Asked, Refusal, nak};
pub use seal::{Keys, SecretKey};
pub(crate) use session::Answered;
pub use session::Session;

/// How many cookies a client keeps, and how many it gets from the key establishment (RFC 8915 §4.1.6, §5.7).
pub const COOKIES: usize = 8;

/// The label of the TLS exporter from which both sides have their keys (RFC 8915 §5.1).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-network-time-security";

/// The context of that exporter for NTPv4 and AEAD_AES_SIV_CMAC_256: for the client's key, or the server's.
pub const fn exporter_context(of_server: bool) -> [u8; 5] {
    [0, 0, 0, 15, of_server as u8]
}
