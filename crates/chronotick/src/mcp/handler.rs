//! The server as the protocol's library calls it: what it is, its tools, and its resources.

use super::arguments::printable;
use super::audit::Entry;
use super::tools::{self, Name};
use super::{Server, resources};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
    CompleteResult, ContentBlock, ErrorData, Implementation, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
    SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use std::time::{Duration, Instant};

/// What changes only with the program may be kept by a client for a day.
const FRESH_FOR: Duration = Duration::from_secs(86_400);

const INSTRUCTIONS: &str = "Corrected time with its uncertainty. Where it matters what time it is, or how exactly \
    that is known, call get_time instead of reading the system clock, and act on `trustworthy` and `advice`.";

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut about = Implementation::new("chronotick", env!("CARGO_PKG_VERSION"));
        about.title = Some("ChronoTick".into());
        about.description = Some(env!("CARGO_PKG_DESCRIPTION").into());
        about.icons = Some(vec![tools::icon()]);
        let can = ServerCapabilities::builder().enable_tools().enable_completions().enable_resources();
        let mut config = ServerConfig::new(can.enable_resources_subscribe().build());
        config.server_info = about;
        config.with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let served = tools::LIST.iter().filter(|tool| self.tool(&tool.name).is_some());
        let list = ListToolsResult::with_all_items(served.cloned().collect());
        Ok(list.with_ttl_ms(FRESH_FOR.as_millis() as u64).with_cache_scope(CacheScope::Public))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let name = self.tool(name)?;
        tools::LIST.get(name as usize).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let given = request.arguments.unwrap_or_default();
        let client = self.inner.is_noted().then(|| context.client_info()).flatten();
        let client = client.as_ref().map(|client| client.name.as_str());
        let Some(name) = self.tool(&request.name) else {
            if self.inner.is_noted() {
                let arguments = Entry::arguments(&given);
                self.note(&printable(&request.name), arguments, client, "unknown", Instant::now());
            }
            return Err(ErrorData::invalid_params(no_such_tool(&request.name), None));
        };
        let answer = self.call(name, given, client, |target| {
            let token = context.meta.get_progress_token();
            let peer = context.peer.clone();
            let door = self.inner.door.clone();
            let tell = move |passed: f64, all: f64| {
                let (token, peer) = (token.clone(), peer.clone());
                async move {
                    let Some(token) = token else { return };
                    let words = format!("{passed:.0} of {all:.0} s waited");
                    let progress =
                        ProgressNotificationParam::new(token, passed).with_total(all).with_message(words);
                    // A client that is gone is noticed by its cancelled request.
                    let _ = peer.notify_progress(progress).await;
                }
            };
            async move { target.wait(&door, tell).await }
        });
        let answer = tokio::select! {
            answer = answer => answer,
            () = context.ct.cancelled() => return Err(ErrorData::invalid_request("the call was cancelled", None)),
        };
        let result = match answer {
            Ok(answer) => CallToolResult::structured(answer),
            Err(mend) => CallToolResult::error(vec![ContentBlock::text(mend.to_string())]),
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let list = ListResourcesResult::with_all_items(resources::list());
        Ok(list.with_ttl_ms(FRESH_FOR.as_millis() as u64).with_cache_scope(CacheScope::Public))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let list = ListResourceTemplatesResult::with_all_items(resources::templates());
        Ok(list.with_ttl_ms(FRESH_FOR.as_millis() as u64).with_cache_scope(CacheScope::Public))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.resource(&request.uri)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        resources::complete(&request)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(resources::subscribable(requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.push_to_listener(&context).await;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.push_to_subscriber(&request.uri, context)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.end_subscription(&request.uri)
    }
}

fn no_such_tool(name: &str) -> String {
    match Name::of(name) {
        Some(name) => {
            format!(
                "{} is not served: start with `chronotick mcp --all-tools`, or set mcp.all_tools",
                name.text()
            )
        }
        None => format!("there is no tool \"{}\"; tools/list names them", printable(name)),
    }
}
