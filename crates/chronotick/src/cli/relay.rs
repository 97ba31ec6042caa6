//! `chronotick relay`: NTP for nodes that reach no server by themselves.

use super::{Failure, log as logging};
use crate::config::{LogLevel, ServerAddress};
use crate::relay::{Ports, Relay as Running, usual_upstreams};
use chronotick_ntp::{Access, Network};
use clap::Args;
use std::net::IpAddr;
use std::process::ExitCode;

/// What a relay is told.
#[derive(Args, Debug)]
pub struct Relay {
    /// UDP ports, one for each upstream: numbers and ranges.
    #[arg(long, value_name = "PORTS", default_value = "8123,8127-8130")]
    pub listen: Ports,
    /// Servers, comma-separated, one for each port in its order; without them public ones of different operators.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub upstream: Vec<ServerAddress>,
    /// Addresses of this machine to listen on, comma-separated.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.0.0.0,::")]
    pub bind: Vec<IpAddr>,
    /// Networks that are served, comma-separated; without them all local networks.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub allow: Vec<Network>,
}

/// Relays until stopped.
pub(super) fn execute(options: &Relay) -> Result<ExitCode, Failure> {
    let ports = &options.listen.0;
    let upstreams = match options.upstream.as_slice() {
        [] => usual_upstreams(ports.len())?,
        named => named.to_vec(),
    };
    if upstreams.len() != ports.len() {
        let (ports, upstreams) = (ports.len(), upstreams.len());
        return Err(format!(
            "--listen has {ports} ports and --upstream {upstreams} servers; write one for each"
        )
        .into());
    }
    let allow = if options.allow.is_empty() { Network::LOCAL.to_vec() } else { options.allow.clone() };
    logging::start(LogLevel::Info);
    let relay = Running::listen(&options.bind, ports, &upstreams, Access::new(allow, Vec::new()))?;
    relay.run()?;
    Ok(ExitCode::SUCCESS)
}
