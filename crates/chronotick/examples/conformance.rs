//! The door for agents behind the real HTTP server, with the fixtures of the protocol's conformance suite. Listens on the
//! address that is given until its standard input ends: `conformance 127.0.0.1:8038`.

use chronotick::config::{Http, Mcp};
use chronotick::daemon::Outlets;
use chronotick::mcp::{Server, fixtures};
use std::error::Error;
use std::io::Read;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("give an address, e.g. 127.0.0.1:8038")?;
    let (outlets, door) = Outlets::within()?;
    let door = Arc::new(door);
    let server = Server::new(door.clone(), &Mcp::default())?;
    let settings = Http { listen: Some(address.parse()?), ..Http::default() };
    let serving =
        chronotick::http::Server::start(&settings, door, outlets.feed.follow(), fixtures::router(&server))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    outlets.feed.end();
    serving.into_iter().for_each(chronotick::http::Server::join);
    Ok(())
}
