//! The daemon's side: its readings go out once a second, and at once where a watcher asks. Nothing is kept for a server
//! that is away.

use super::message::{ASK, Told, subject};
use super::{connect, runtime};
use crate::config::{Bus, NodeName};
use crate::door::Door;
use crate::feed::{Follower, News};
use async_nats::Client;
use async_nats::connection::State as Connection;
use chronotick_os::random_u64;
use futures_util::StreamExt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, channel};

/// Between two answers to watchers, however many ask.
const ANSWERS_EVERY: Duration = Duration::from_millis(200);

/// Questions that wait to be answered: most of them will not be.
const QUESTIONS: usize = 32;

/// Publishes until the feed ends, if a server is configured. Two threads: one waits for the feed, one for the network.
///
/// # Errors
/// If the system has no thread left.
pub fn start(settings: &Bus, door: Arc<Door>, follower: Follower) -> io::Result<()> {
    if settings.nats.is_none() {
        return Ok(());
    }
    let (told, due) = channel(1);
    std::thread::Builder::new().name("bus-feed".into()).spawn(move || {
        while let Ok(news) = follower.next(Duration::from_secs(60)) {
            // One that is not sent yet will say what is true then.
            if matches!(news, Some(News::Status(_)))
                && matches!(told.try_send(()), Err(TrySendError::Closed(())))
            {
                return;
            }
        }
    })?;
    let (settings, runtime) = (settings.clone(), runtime()?);
    std::thread::Builder::new().name("bus".into()).spawn(move || {
        if let Err(why) = runtime.block_on(publish(&settings, &door, due)) {
            log::error!("NATS: nothing is told: {why}");
        }
    })?;
    Ok(())
}

/// Who tells.
struct Speaker<'a> {
    node: NodeName,
    subject: String,
    run: u64,
    sequence: u64,
    door: &'a Door,
    client: Client,
}

async fn publish(settings: &Bus, door: &Door, mut due: Receiver<()>) -> Result<(), String> {
    let node = settings.node.clone().unwrap_or_else(NodeName::of_machine);
    let client = connect(settings, &format!("chronotick {}", node.as_str()), QUESTIONS).await?;
    let mut asked = client.subscribe(ASK).await.map_err(|e| e.to_string())?;
    let mut speaker =
        Speaker { subject: subject(&node), node, run: random_u64() >> 11, sequence: 0, door, client };
    let mut answered = Instant::now();
    loop {
        tokio::select! {
            more = due.recv() => match more {
                Some(()) => speaker.tell(None).await,
                None => return Ok(()),
            },
            Some(question) = asked.next() => {
                let number = std::str::from_utf8(&question.payload).ok().filter(|text| text.len() <= 16);
                if let Some(number) = number.and_then(|text| u64::from_str_radix(text, 16).ok())
                    && answered.elapsed() >= ANSWERS_EVERY
                {
                    answered = Instant::now();
                    speaker.tell(Some(number)).await;
                }
            }
        }
    }
}

impl Speaker<'_> {
    /// Tells what is true now; to nobody, if the server is away.
    async fn tell(&mut self, asked: Option<u64>) {
        if self.client.connection_state() != Connection::Connected {
            return;
        }
        let (reading, system) = self.door.clock.now_and_system();
        self.sequence += 1;
        let told = Told { asked, ..Told::of(&self.node, (self.run, self.sequence), &reading, system) };
        let Ok(payload) = serde_json::to_vec(&told) else { return };
        let sent = self.client.publish(self.subject.clone(), payload.into());
        // A queue that is full belongs to a server that has just gone.
        let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
    }
}
