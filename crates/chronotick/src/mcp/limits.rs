//! How often each tool may be called. The default lets through what one processor can answer; a loop that runs away is
//! stopped where it costs more than reading a page.

use super::arguments::Mend;
use super::tools::Name;
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// One limit for each tool, over all callers.
#[derive(Debug)]
pub(super) struct Limits(Vec<DefaultDirectRateLimiter>);

impl Limits {
    /// So many calls a second for each tool, or as many as each can bear.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Limits {
        let limiter =
            |name: &Name| RateLimiter::direct(Quota::per_second(per_second.unwrap_or(name.bearable())));
        Limits(Name::ALL.iter().map(limiter).collect())
    }

    pub(super) fn admit(&self, name: Name) -> Result<(), Mend> {
        let limiter = &self.0[name as usize];
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(limiter.clock().now());
            Mend::TooOften { tool: name.text(), wait_ms: wait.as_millis() + 1 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_has_a_limit_of_its_own() {
        let limits = Limits::new(NonZeroU32::new(3));
        let admitted = |name| (0..10).filter(|_| limits.admit(name).is_ok()).count();
        assert!((3..10).contains(&admitted(Name::Time)));
        assert!((3..10).contains(&admitted(Name::Status)));
        let refused = limits.admit(Name::Time).unwrap_err().to_string();
        assert!(refused.contains("get_time has been called too often: wait "), "{refused}");
    }
}
