//! The door for agents, spoken to as a client does: raw JSON lines through a pipe, against a clock page and a snapshot
//! made by hand. One test for each thing that `docs/mcp.md` promises.

mod http;
mod machine;
mod protocol;
mod time;
mod tools;
