//! NTP on the wire, end to end: the real binary as a server, as a client and as a relay, with real peers on loopback.

mod daemon;
mod keys;
mod nts;
mod relay;
mod server;
