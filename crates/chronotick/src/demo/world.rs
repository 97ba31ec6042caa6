//! The simulated part of the demonstration: a machine whose clock drifts in a known way, and NTP servers on loopback
//! that know the truth, except the one that lies.

use crate::daemon::Machine;
use chronotick_clock::{ClockPair, raw_now};
use chronotick_core::{Leap, RawInstant, Span, Timestamp};
use chronotick_ntp::{ReferenceId, Responder};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Truth runs with the host's raw clock; the simulated machine's clocks are a known function of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    began: RawInstant,
}

impl World {
    /// True time when the demonstration begins: 2030-01-01T00:00:00Z, so that nobody takes it for the real time.
    const EPOCH: Timestamp = Timestamp::from_nanos(1_893_456_000_000_000_000);
    /// The simulated machine booted this long before.
    const UPTIME: Span = Span::from_secs(1_000);
    /// Its clock runs slow by this, and by a swing as of temperature besides.
    const SLOW: f64 = 20e-6;
    const SWING: f64 = 1e-6;
    const PERIOD: f64 = 240.0;
    /// Its system clock was set wrong by this.
    const BEHIND: Span = Span::from_millis(37);

    pub(super) fn new() -> World {
        World { began: raw_now() }
    }

    /// True time when the host's raw clock reads `raw`.
    pub(super) fn truth(&self, raw: RawInstant) -> Timestamp {
        World::EPOCH + (raw - self.began)
    }
}

impl Machine for World {
    fn local(&self, raw: RawInstant) -> RawInstant {
        let elapsed = raw - self.began;
        let t = elapsed.as_secs_f64();
        let turn = std::f64::consts::TAU / World::PERIOD;
        let lost = World::SLOW * t + World::SWING / turn * (1.0 - (turn * t).cos());
        RawInstant::from_nanos(0) + World::UPTIME + elapsed - Span::from_secs_f64(lost)
    }

    fn system(&self, pair: ClockPair) -> Timestamp {
        let ran = self.local(pair.raw) - RawInstant::from_nanos(0) - World::UPTIME;
        World::EPOCH - World::BEHIND + ran
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

/// An NTP server on loopback and the path to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// One-way delay without queues.
    pub(super) delay: Duration,
    /// Mean of the exponential queueing delay, each way.
    pub(super) jitter: Duration,
    /// What it adds to the truth.
    pub(super) lie: Span,
}

impl Server {
    /// Serves until the process ends, on a thread of its own; the result is its address.
    ///
    /// # Errors
    /// If no port can be bound.
    pub(super) fn start(self, world: World, seed: u64) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        std::thread::Builder::new()
            .name("demo-server".into())
            .spawn(move || self.serve(&socket, world, seed))?;
        Ok(address)
    }

    fn serve(self, socket: &UdpSocket, world: World, seed: u64) {
        let responder = Responder {
            leap: Some(Leap::None),
            stratum: 1,
            reference_id: ReferenceId(*b"DEMO"),
            reference: world.truth(raw_now()),
            ..Responder::default()
        };
        let mut queues = Queues(seed);
        let mut buffer = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            let arrived = raw_now();
            let there = Span::from(self.delay + queues.next(self.jitter));
            let back = Span::from(self.delay + queues.next(self.jitter));
            let served = world.truth(arrived + there) + self.lie;
            let Some(reply) = responder.answer(&buffer[..len], served) else { continue };
            wait_until(arrived + there + back);
            let datagram = reply.leaving_at(served);
            if socket.send_to(&datagram, client).is_err() {
                // The demonstration's client is gone; the next request tells.
                continue;
            }
        }
    }
}

/// Sleeping alone would overshoot by a tenth of a millisecond, on the way back only: the last bit is waited out awake.
fn wait_until(raw: RawInstant) {
    let asleep = raw - raw_now() - Span::from_micros(500);
    std::thread::sleep(Duration::from_nanos(asleep.max(Span::ZERO).as_nanos().unsigned_abs()));
    while raw_now() < raw {
        std::hint::spin_loop();
    }
}

/// Exponentially distributed delays, the same sequence for the same seed (xorshift64*).
struct Queues(u64);

impl Queues {
    fn next(&mut self, mean: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let uniform = ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        mean.mul_f64(-uniform.ln()).min(mean * 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_loses_what_it_should() {
        let world = World::new();
        let at = |secs| world.local(world.began + Span::from_secs(secs));
        let lost = Span::from_secs(240) - (at(240) - at(0));
        assert_eq!(lost, Span::from_micros(4_800));
    }

    #[test]
    fn queues_have_the_mean_they_should() {
        let mut queues = Queues(7);
        let mean = Duration::from_millis(1);
        let sum: Duration = (0..10_000).map(|_| queues.next(mean)).sum();
        assert!((sum.as_secs_f64() / 10.0 - 1.0).abs() < 0.05, "{sum:?}");
    }
}
