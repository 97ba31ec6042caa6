//! The resources: `chronotick://status`, which can be subscribed to, and `chronotick://time/{tz}`, whose zones can be
//! completed.
//!
//! Whoever subscribes is told when the state or its reason changes. The page is looked at for that five times a second:
//! it alone can tell that a daemon has died, which no daemon can push.

use super::Server;
use super::arguments::printable;
use super::status::Status;
use super::time::WithStats;
use super::tools::icon;
use super::zones::named_like;
use crate::door::Door;
use chronotick_clock::{Reason, State};
use jiff::tz::TimeZone;
use rmcp::model::{
    CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ErrorData, PingRequest,
    ReadResourceResponse, ReadResourceResult, Reference, Resource, ResourceContents, ResourceTemplate,
    ResourceUpdatedNotificationParam, ServerRequest, SubscriptionFilter,
};
use rmcp::service::{Peer, RequestContext, RoleServer, SubscriptionContext};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

const STATUS: &str = "chronotick://status";
const TIME: &str = "chronotick://time/";
const TEMPLATE: &str = "chronotick://time/{tz}";
const JSON: &str = "application/json";
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a subscriber is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(60);

/// The subscription of the one client of a connection, in the era with a handshake.
#[derive(Debug, Default)]
pub(super) struct Subscription(Mutex<Option<AbortHandle>>);

impl Subscription {
    /// Ends the one before.
    fn replace(&self, by: Option<AbortHandle>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), by);
        before.inspect(AbortHandle::abort);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.replace(None);
    }
}

pub(super) fn list() -> Vec<Resource> {
    let resource = |uri: &str, name: &str, title: &str, description: &str| {
        let described = Resource::new(uri, name).with_title(title).with_description(description);
        described.with_mime_type(JSON).with_icons(vec![icon()])
    };
    vec![
        resource(
            STATUS,
            "status",
            "Daemon status",
            "The answer of get_daemon_status; subscribers hear of every change of state.",
        ),
        resource(&format!("{TIME}UTC"), "time", "Corrected time (UTC)", "The answer of get_time."),
    ]
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = ResourceTemplate::new(TEMPLATE, "time").with_title("Corrected time in a zone");
    let described =
        template.with_description("The answer of get_time with the local time of tz, an IANA name.");
    vec![described.with_mime_type(JSON).with_icons(vec![icon()])]
}

/// The names of zones that begin like what was typed.
pub(super) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    match &request.r#ref {
        Reference::Resource(of) if of.uri == TEMPLATE && request.argument.name == "tz" => {
            let (names, total) = named_like(&request.argument.value, CompletionInfo::MAX_VALUES);
            let more = total > names.len();
            let found = CompletionInfo::with_pagination(names, u32::try_from(total).ok(), more);
            Ok(CompleteResult::new(found.expect("no more than the most")))
        }
        _ => Err(ErrorData::invalid_params(
            format!("only the argument tz of {TEMPLATE} can be completed"),
            None,
        )),
    }
}

/// What of a wish can be fulfilled: hearing of changes of the status.
pub(super) fn subscribable(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = SubscriptionFilter::new();
    let wanted = requested.resource_subscriptions.as_ref();
    accepted.resource_subscriptions =
        wanted.map(|uris| uris.iter().filter(|uri| *uri == STATUS).cloned().collect());
    accepted
}

impl Server {
    pub(super) fn resource(&self, uri: &str) -> Result<ReadResourceResponse, ErrorData> {
        let (door, begun) = (&self.inner.door, Instant::now());
        let text = if uri == STATUS {
            serde_json::to_string(&Status::read(door, self.inner.latency.mean_ms(begun)))
        } else {
            let zone = uri.strip_prefix(TIME).and_then(zone).ok_or_else(|| no_such_resource(uri))?;
            serde_json::to_string(&WithStats::read(door, Some(&zone), None))
        };
        let text = text.expect("numbers, words and lists have a JSON form");
        let contents = ResourceContents::text(text, uri).with_mime_type(JSON);
        Ok(ReadResourceResult::new(vec![contents])
            .with_ttl_ms(0)
            .with_cache_scope(CacheScope::Private)
            .into())
    }

    /// Tells a listener of 2026-07-28 until it has heard enough.
    pub(super) async fn push_to_listener(&self, context: &SubscriptionContext) {
        if context.accepted().resource_subscriptions.as_ref().is_none_or(Vec::is_empty) {
            return context.cancelled().await;
        }
        let mut watch = Watch::new(&self.inner.door);
        loop {
            tokio::select! {
                () = context.cancelled() => return,
                () = watch.changed(&self.inner.door) => {}
            }
            if context.sink().notify_resource_updated(STATUS).await.is_err() {
                return;
            }
        }
    }

    /// Tells a client of the era with a handshake, as long as its connection lasts.
    pub(super) fn push_to_subscriber(
        &self,
        uri: &str,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if uri != STATUS {
            return Err(no_such_subscription(uri));
        }
        if !self.lasting {
            let mend = "without a session nothing can be pushed to this era of the protocol: begin with initialize, and send the \
                Mcp-Session-Id of its answer; or use subscriptions/listen of 2026-07-28";
            return Err(ErrorData::invalid_request(mend, None));
        }
        let (door, peer) = (self.inner.door.clone(), context.peer);
        let telling = tokio::spawn(async move {
            let mut watch = Watch::new(&door);
            loop {
                let told = tokio::select! {
                    () = watch.changed(&door) => {
                        peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(STATUS)).await.is_ok()
                    }
                    () = tokio::time::sleep(PING_EVERY) => is_there(&peer).await,
                };
                if !told {
                    return;
                }
            }
        });
        self.subscription.replace(Some(telling.abort_handle()));
        Ok(())
    }

    pub(super) fn end_subscription(&self, uri: &str) -> Result<(), ErrorData> {
        if uri != STATUS {
            return Err(no_such_subscription(uri));
        }
        self.subscription.replace(None);
        Ok(())
    }
}

/// Whether a subscriber still answers. That it was asked keeps its session, which ends when nothing is said for long.
async fn is_there(peer: &Peer<RoleServer>) -> bool {
    let ping = peer.send_request(ServerRequest::PingRequest(PingRequest::default()));
    tokio::time::timeout(PING_EVERY, ping).await.is_ok_and(|answer| answer.is_ok())
}

/// What was last seen of the state.
struct Watch((State, Reason));

impl Watch {
    fn new(door: &Door) -> Watch {
        Watch(Watch::look(door))
    }

    fn look(door: &Door) -> (State, Reason) {
        let reading = door.clock.now_checked();
        (reading.state, reading.reason)
    }

    async fn changed(&mut self, door: &Door) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let seen = Watch::look(door);
            if std::mem::replace(&mut self.0, seen) != seen {
                return;
            }
        }
    }
}

/// The zone in a resource's address; the slash in its name may be escaped, as templates do.
fn zone(text: &str) -> Option<TimeZone> {
    TimeZone::get(&text.replace("%2F", "/").replace("%2f", "/").replace("%2B", "+")).ok()
}

fn no_such_resource(uri: &str) -> ErrorData {
    let mend = format!(
        "there is no resource {}; there are {STATUS} and {TEMPLATE}, tz being an IANA name",
        printable(uri)
    );
    ErrorData::resource_not_found(mend, Some(serde_json::json!({ "uri": printable(uri) })))
}

fn no_such_subscription(uri: &str) -> ErrorData {
    ErrorData::invalid_params(format!("{} cannot be subscribed to; {STATUS} can", printable(uri)), None)
}
