//! What the daemon tells the manager that started it (`sd_notify(3)`): that it is ready, how the clock is, and once a
//! second that the measuring thread still publishes. It does so from a thread of its own.

use crate::daemon::Outlets;
use crate::feed::{Follower, News};
use crate::snapshot::Snapshot;
use chronotick_clock::Clock;
use sd_notify::NotifyState;
use std::io;
use std::time::Duration;

/// Begins to tell the service manager, if there is one that wants to hear; `summary` puts the status into a line.
///
/// # Errors
/// If no thread can be started.
pub fn start(outlets: &Outlets, summary: fn(&Snapshot) -> String) -> io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    let (follower, clock) = (outlets.feed.follow(), outlets.door().clock);
    let mut failing = false;
    let tell = move |states: &[NotifyState<'_>]| {
        let told = sd_notify::notify(states);
        if let Err(e) = &told
            && !failing
        {
            log::warn!("the service manager cannot be told: {e}; it may take this daemon for dead");
        }
        failing = told.is_err();
    };
    std::thread::Builder::new()
        .name("notify".into())
        .spawn(move || follow(&follower, &clock, summary, tell))?;
    Ok(())
}

/// Tells until the feed ends.
fn follow(
    follower: &Follower,
    clock: &Clock,
    summary: fn(&Snapshot) -> String,
    mut tell: impl FnMut(&[NotifyState<'_>]),
) {
    let mut before = None;
    while let Ok(news) = follower.next(Duration::from_secs(60)) {
        let Some(News::Status(snapshot)) = news else { continue };
        let publications = clock.page_status().publications;
        tell(&states(before.replace(publications), publications, &summary(&snapshot)));
    }
    tell(&[NotifyState::Stopping]);
}

/// What one status says, with so many publications on the page when the last was told, and so many now. A ping stands
/// for publications since then: a thread that merely lives does not count.
fn states(before: Option<u64>, publications: u64, line: &str) -> Vec<NotifyState<'_>> {
    let ready = before.is_none().then_some(NotifyState::Ready);
    let alive = before.is_none_or(|before| publications > before).then_some(NotifyState::Watchdog);
    [ready, Some(NotifyState::Status(line)), alive].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_means_that_something_was_published() {
        let said = |before, now| {
            states(before, now, "synced").iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said(None, 2), "READY=1 STATUS=synced WATCHDOG=1");
        assert_eq!(said(Some(2), 3), "STATUS=synced WATCHDOG=1");
        assert_eq!(said(Some(3), 3), "STATUS=synced");
    }
}
