//! One endpoint, named operations: under `/v1` and, with the same bodies, under the classic paths.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{AttributeUpdate, Item, MAX_LIST, allow, ops, unrecognized};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{Post, Reply};

/// What to do, and with what.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationRequest {
    /// `create`, `read`, `update`, `delete`, `list`, `echo` or `ping`.
    operation: String,
    /// The table; `echo` and `ping` need none.
    table_name: Option<String>,
    /// What the operation needs.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// What came of it: any JSON, as the operation has it.
#[derive(Serialize)]
#[serde(transparent)]
pub struct OperationAnswer(Box<RawValue>);

impl PartialSchema for OperationAnswer {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).into()
    }
}

impl ToSchema for OperationAnswer {}

#[derive(Deserialize)]
struct CreatePayload {
    #[serde(rename = "Item")]
    item: Item,
}

#[derive(Deserialize)]
struct KeyPayload {
    #[serde(rename = "Key")]
    key: Item,
}

#[derive(Deserialize)]
struct UpdatePayload {
    #[serde(rename = "Key")]
    key: Item,
    #[serde(rename = "AttributeUpdates")]
    updates: BTreeMap<String, AttributeUpdate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListPayload {
    #[serde(rename = "Limit")]
    limit: Option<usize>,
    #[serde(rename = "ExclusiveStartKey")]
    after: Option<Item>,
}

#[derive(Serialize)]
struct ItemAnswer {
    #[serde(rename = "Item")]
    item: Item,
}

#[derive(Serialize)]
struct AttributesAnswer {
    #[serde(rename = "Attributes")]
    attributes: Item,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListAnswer {
    items: Vec<Item>,
    count: usize,
    scanned_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluated_key: Option<LastKey>,
}

#[derive(Serialize)]
struct LastKey {
    id: String,
}

fn payload<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<T> {
    let raw = raw.ok_or_else(|| Error::field("/payload", "is required"))?;
    let mut json = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path: String = error.path().iter().map(|part| format!("/{part}")).collect();
        let path = path.trim_end_matches("/?").to_owned();
        Error::field(format!("/payload{path}"), error.inner())
    })
}

fn answer(value: &impl Serialize) -> Result<Reply<200, OperationAnswer>> {
    Ok(Reply::new(OperationAnswer(serde_json::value::to_raw_value(value).map_err(Error::internal)?)))
}

pub(crate) async fn operate(app: App, post: Post<OperationRequest>) -> Result<Reply<200, OperationAnswer>> {
    let OperationRequest { operation, table_name, payload: raw } = post.body;
    let raw = raw.as_deref();
    if let Some(table) = &table_name {
        allow(table, &app.config.operation_tables)?;
    }
    match operation.as_str() {
        "ping" => return answer(&"pong"),
        "echo" => return answer(&raw),
        "create" | "read" | "update" | "delete" | "list" => {}
        unknown => return Err(unrecognized(unknown)),
    }
    let table = table_name.ok_or_else(|| Error::field("/tableName", "is required"))?;
    match operation.as_str() {
        "create" => {
            let CreatePayload { item } = payload(raw)?;
            answer(&ItemAnswer { item: ops::create(&app, &post.once, &table, &item).await? })
        }
        "read" => {
            let KeyPayload { key } = payload(raw)?;
            answer(&ItemAnswer { item: ops::read(&app, &table, &key).await? })
        }
        "update" => {
            let UpdatePayload { key, updates } = payload(raw)?;
            answer(&AttributesAnswer { attributes: ops::update(&app, &post.once, &table, &key, &updates).await? })
        }
        "delete" => {
            let KeyPayload { key } = payload(raw)?;
            ops::delete(&app, &post.once, &table, &key).await?;
            answer(&serde_json::Map::new())
        }
        _ => list(&app, &table, raw).await,
    }
}

async fn list(app: &App, table: &str, raw: Option<&RawValue>) -> Result<Reply<200, OperationAnswer>> {
    let ListPayload { limit, after } = raw.map_or_else(|| Ok(ListPayload::default()), |raw| payload(Some(raw)))?;
    let limit = limit.unwrap_or(MAX_LIST);
    if !(1..=MAX_LIST).contains(&limit) {
        return Err(Error::field("/payload/Limit", format!("must be a whole number from 1 to {MAX_LIST}")));
    }
    let after = after.map(|key| key.id("/payload/ExclusiveStartKey")).transpose()?;
    let (items, next) = ops::list(app, table, after.as_deref(), limit).await?;
    let last_evaluated_key = next.map(|id| LastKey { id });
    answer(&ListAnswer { count: items.len(), scanned_count: items.len(), items, last_evaluated_key })
}
