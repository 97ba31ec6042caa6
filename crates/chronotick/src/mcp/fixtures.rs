//! The tools, prompts and resources that the protocol's conformance suite asks for by name, around the real handler,
//! router and transport. Never in a product: only with the feature `conformance-fixtures`.
//!
//! What each has to do is described by the suite itself (`@modelcontextprotocol/conformance`).

#![allow(
    deprecated,
    reason = "the era with a handshake has logging and sampling, and its judge asks for them"
)]

use super::{Server, http};
use axum::Router;
use rmcp::handler::server::ServerHandler;
use rmcp::model::*;
use rmcp::service::{Peer, RequestContext, RoleServer, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// One red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// No samples at 8 kHz.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";
/// A state that no client may change.
const STATE: &str = "round-1.7f3a";

const TOOLS: &[&str] = &[
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_logging_tool",
    "test_error_handling",
    "test_tool_with_progress",
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
];

/// The product's router with the fixtures in it, and with sessions in the era that has them, as the suite needs them.
pub fn router(server: &Server) -> Router {
    let server = server.by("http");
    http::routed(move || Fixtures(server.by("http")), Arc::new(LocalSessionManager::default()), true)
}

struct Fixtures(Server);

/// What the protocol's types make of their own JSON.
fn of<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json.clone()).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn elicit(message: &str, properties: Value, required: &[&str]) -> Value {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
}

fn sample(prompt: &str, tokens: u32) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}})
}

fn required(requests: Value, state: Option<&str>) -> InputRequiredResult {
    InputRequiredResult::new(Some(of(requests)), state.map(Into::into))
}

/// Asks the client, in the era in which a server may.
async fn ask(peer: &Peer<RoleServer>, request: Value) -> Result<Value, ErrorData> {
    let answer =
        peer.send_request(of(request)).await.map_err(|e| ErrorData::internal_error(e.to_string(), None))?;
    Ok(serde_json::to_value(answer).expect("answers have a JSON form"))
}

impl Fixtures {
    async fn tool(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let argument = |name: &str| {
            request.arguments.as_ref().and_then(|a| a.get(name)?.as_str()).unwrap_or_default().to_owned()
        };
        let peer = &context.peer;
        Ok(match &*request.name {
            "test_simple_text" => text("This is a simple text response for testing."),
            "test_image_content" => {
                CallToolResult::success(vec![ContentBlock::image(PNG, "image/png")]).into()
            }
            "test_audio_content" => {
                CallToolResult::success(vec![ContentBlock::audio(WAV, "audio/wav")]).into()
            }
            "test_embedded_resource" => {
                let contents = ResourceContents::text(
                    "This is an embedded resource content.",
                    "test://embedded-resource",
                );
                CallToolResult::success(vec![ContentBlock::resource(contents)]).into()
            }
            "test_multiple_content_types" => {
                let json =
                    ResourceContents::text(r#"{"test":"data","value":123}"#, "test://mixed-content-resource");
                let content = vec![
                    ContentBlock::text("Multiple content types test:"),
                    ContentBlock::image(PNG, "image/png"),
                    ContentBlock::resource(json.with_mime_type("application/json")),
                ];
                CallToolResult::success(content).into()
            }
            "test_error_handling" => CallToolResult::error(vec![ContentBlock::text(
                "This tool intentionally returns an error for testing",
            )])
            .into(),
            // Without a level in the request nothing is logged in the era without a handshake.
            "test_logging_tool" => text("done without a log"),
            "test_tool_with_logging" => {
                for message in ["Tool execution started", "Tool processing data", "Tool execution completed"]
                {
                    let _ = peer.notify_logging_message(of(json!({"level": "info", "data": message}))).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                text("logged")
            }
            "test_tool_with_progress" => {
                for progress in [0.0, 50.0, 100.0] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let _ = peer
                            .notify_progress(
                                ProgressNotificationParam::new(token, progress).with_total(100.0),
                            )
                            .await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                text("progressed")
            }
            "test_sampling" => {
                let answer = ask(peer, sample(&argument("prompt"), 100)).await?;
                text(format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default()))
            }
            "test_elicitation" => {
                let field = |of: &str| json!({"type": "string", "description": of});
                let fields =
                    json!({"username": field("User's response"), "email": field("User's email address")});
                let answer = ask(peer, elicit(&argument("message"), fields, &["username", "email"])).await?;
                text(format!("User response: {answer}"))
            }
            "test_elicitation_sep1034_defaults" => {
                let answer = ask(peer, elicit("Defaults", defaults(), &[])).await?;
                text(format!(
                    "Elicitation completed: action={}, content={}",
                    answer["action"], answer["content"]
                ))
            }
            "test_elicitation_sep1330_enums" => {
                let answer = ask(peer, elicit("Choices", choices(), &[])).await?;
                text(format!(
                    "Elicitation completed: action={}, content={}",
                    answer["action"], answer["content"]
                ))
            }
            "test_missing_capability" => {
                let needed = of(json!({"sampling": {}}));
                match context.client_capabilities().is_some_and(|c| c.sampling.is_some()) {
                    true => text("the capability is there"),
                    false => return Err(ErrorData::missing_required_client_capability(needed)),
                }
            }
            "test_streaming_elicitation" => {
                let confirm = elicit("Go on?", json!({"ok": {"type": "boolean"}}), &["ok"]);
                required(json!({ "confirm": confirm }), None).into()
            }
            name => return self.rounds(name, request, context),
        })
    }

    /// Tools that need more rounds than one.
    fn rounds(
        &self,
        name: &str,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let given = |key: &str| {
            request.input_responses.as_ref().and_then(|all| all.get(key)).filter(|v| v.is_object()).cloned()
        };
        let name_field = json!({"name": {"type": "string"}});
        let who = || elicit("What is your name?", name_field.clone(), &["name"]);
        let ok = || json!({"confirm": elicit("Please confirm", json!({"ok": {"type": "boolean"}}), &["ok"])});
        let roots = || json!({"method": "roots/list", "params": {}});
        let state = request.request_state.as_deref();
        let tampered = || ErrorData::invalid_params("the request state is not the one that was given", None);
        Ok(match name {
            "test_input_required_result_elicitation" => match given("user_name") {
                Some(answer) => {
                    text(format!("Hello, {}!", answer["content"]["name"].as_str().unwrap_or("you")))
                }
                None => required(json!({ "user_name": who() }), None).into(),
            },
            "test_input_required_result_sampling" => match given("capital_question") {
                Some(answer) => text(answer["content"]["text"].as_str().unwrap_or_default()),
                None => {
                    required(json!({"capital_question": sample("What is the capital of France?", 100)}), None)
                        .into()
                }
            },
            "test_input_required_result_list_roots" => match given("client_roots") {
                Some(answer) => text(format!("roots: {}", answer["roots"])),
                None => required(json!({ "client_roots": roots() }), None).into(),
            },
            "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
                match (given("confirm"), state) {
                    (Some(_), Some(STATE)) => text("state-ok"),
                    (_, None) => required(ok(), Some(STATE)).into(),
                    _ => return Err(tampered()),
                }
            }
            "test_input_required_result_multiple_inputs" => {
                let all = ["user_name", "greeting", "client_roots"].map(given);
                match (all.iter().all(Option::is_some), state) {
                    (true, Some(STATE)) => text("all were given"),
                    _ => {
                        let requests = json!({"user_name": who(), "greeting": sample("Generate a greeting", 50), "client_roots": roots()});
                        required(requests, Some(STATE)).into()
                    }
                }
            }
            "test_input_required_result_multi_round" => match (state, given("step1"), given("step2")) {
                (Some("round-2"), _, Some(_)) => text("two rounds are over"),
                (Some("round-1"), Some(_), _) => {
                    let colour = json!({"color": {"type": "string"}});
                    let step = elicit("Step 2: What is your favorite color?", colour, &["color"]);
                    required(json!({ "step2": step }), Some("round-2")).into()
                }
                _ => {
                    let step = elicit("Step 1: What is your name?", name_field.clone(), &["name"]);
                    required(json!({ "step1": step }), Some("round-1")).into()
                }
            },
            "test_input_required_result_capabilities" => {
                let can = context.client_capabilities().unwrap_or_default();
                let mut requests = serde_json::Map::new();
                if can.elicitation.is_some() {
                    requests.insert("user_name".into(), who());
                }
                if can.sampling.is_some() {
                    requests.insert("greeting".into(), sample("Generate a greeting", 50));
                }
                required(requests.into(), None).into()
            }
            _ => return Err(ErrorData::invalid_params("there is no such fixture", None)),
        })
    }
}

fn defaults() -> Value {
    json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    })
}

fn choices() -> Value {
    let titled = |a: &str, b: &str, c: &str| {
        let one = |value: &str, title: &str| json!({"const": value, "title": title});
        json!([one("value1", a), one("value2", b), one("value3", c)])
    };
    let plain = json!(["option1", "option2", "option3"]);
    json!({
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled("First Option", "Second Option", "Third Option")},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("First Choice", "Second Choice", "Third Choice")}},
    })
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        let mut config = self.0.get_info();
        config.capabilities.prompts = Some(PromptsCapability::default());
        config.capabilities.logging = Some(JsonObject::new());
        config
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = self.0.list_tools(page, context).await?;
        let nothing: JsonObject = of(json!({"type": "object", "properties": {}}));
        list.tools.extend(
            TOOLS.iter().map(|name| {
                Tool::new(*name, "A fixture of the conformance suite.", Arc::new(nothing.clone()))
            }),
        );
        Ok(list)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.0.get_tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if TOOLS.contains(&&*request.name) {
            self.tool(&request, &context).await
        } else {
            self.0.call_tool(request, context).await
        }
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut list = self.0.list_resources(page, context).await?;
        list.resources.extend(
            ["test://static-text", "test://static-binary", "test://watched-resource"]
                .map(|uri| Resource::new(uri, uri).with_description("A fixture of the conformance suite.")),
        );
        Ok(list)
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut list = self.0.list_resource_templates(page, context).await?;
        list.resource_templates.push(ResourceTemplate::new("test://template/{id}/data", "fixture"));
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let contents = match uri {
            "test://static-text" => {
                ResourceContents::text("This is the content of the static text resource.", uri)
            }
            "test://static-binary" => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
            "test://watched-resource" => ResourceContents::text("watched", uri),
            _ => match uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
                Some(id) => {
                    let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                    ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
                }
                None => return self.0.read_resource(request, context).await,
            },
        };
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let needed = |name: &str| json!({"name": name, "required": true});
        let about = "A fixture of the conformance suite.";
        let prompts = json!([
            {"name": "test_simple_prompt", "description": about},
            {"name": "test_prompt_with_arguments", "description": about, "arguments": [needed("arg1"), needed("arg2")]},
            {"name": "test_prompt_with_embedded_resource", "description": about, "arguments": [needed("resourceUri")]},
            {"name": "test_prompt_with_image", "description": about},
            {"name": "test_input_required_result_prompt", "description": about},
        ]);
        Ok(ListPromptsResult::with_all_items(of(prompts))
            .with_ttl_ms(0)
            .with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let argument = |name: &str| {
            request.arguments.as_ref().and_then(|a| a.get(name)?.as_str()).unwrap_or_default().to_owned()
        };
        let said = |content: Value| json!({"role": "user", "content": content});
        let text = |text: String| said(json!({"type": "text", "text": text}));
        let messages = match request.name.as_str() {
            "test_simple_prompt" => json!([text("This is a simple prompt for testing.".into())]),
            "test_prompt_with_arguments" => {
                json!([text(format!(
                    "Prompt with arguments: arg1='{}', arg2='{}'",
                    argument("arg1"),
                    argument("arg2")
                ))])
            }
            "test_prompt_with_embedded_resource" => {
                let words = "Embedded resource content for testing.";
                let resource =
                    json!({"uri": argument("resourceUri"), "mimeType": "text/plain", "text": words});
                json!([
                    said(json!({"type": "resource", "resource": resource})),
                    text("Please process the embedded resource above.".into())
                ])
            }
            "test_prompt_with_image" => {
                json!([
                    said(json!({"type": "image", "data": PNG, "mimeType": "image/png"})),
                    text("Please analyze the image above.".into())
                ])
            }
            "test_input_required_result_prompt" => {
                let given = request.input_responses.as_ref().and_then(|all| all.get("user_context"));
                match given {
                    Some(answer) => json!([text(format!("Context: {}", answer["content"]["context"]))]),
                    None => {
                        let ask = elicit(
                            "What context should the prompt use?",
                            json!({"context": {"type": "string"}}),
                            &["context"],
                        );
                        return Ok(required(json!({ "user_context": ask }), None).into());
                    }
                }
            }
            _ => return Err(ErrorData::invalid_params("there is no such prompt", None)),
        };
        Ok(GetPromptResult::new(of(messages)).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        match &request.r#ref {
            Reference::Prompt(_) => Ok(CompleteResult::default()),
            _ => self.0.complete(request, context).await,
        }
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.0.accepted_subscription_filter(requested)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.0.listen(context).await
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if request.uri.starts_with("test://") { Ok(()) } else { self.0.subscribe(request, context).await }
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if request.uri.starts_with("test://") { Ok(()) } else { self.0.unsubscribe(request, context).await }
    }
}
