//! What handlers answer with.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION};
use serde::Serialize;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::extract::{List, Listing};
use crate::error::{Error, Result};

/// Room for the JSON of one document, so that most answers are written without growing.
const USUAL_ANSWER_BYTES: usize = 768;
/// Room for one of a list.
const USUAL_ITEM_BYTES: usize = 448;
/// Room for the headers of an answer and those that the door adds.
const USUAL_HEADERS: usize = 12;

/// A JSON answer with a fixed status.
pub struct Reply<const STATUS: u16, T> {
    body: T,
    headers: Vec<(HeaderName, String)>,
    /// Room for the JSON.
    room: usize,
}

impl<const STATUS: u16, T> Reply<STATUS, T> {
    /// This body.
    pub fn new(body: T) -> Self {
        Reply { body, headers: Vec::new(), room: USUAL_ANSWER_BYTES }
    }

    /// With a list of so many items in its body.
    fn listing(self, items: usize) -> Self {
        Reply { room: USUAL_ANSWER_BYTES + items * USUAL_ITEM_BYTES, ..self }
    }

    /// With this entity tag.
    pub fn etag(self, etag: String) -> Self {
        self.header(ETAG, etag)
    }

    /// With the URL of what was made, or of where to look next.
    pub fn location(self, location: String) -> Self {
        self.header(LOCATION, location)
    }

    /// With the `Link` to the next page of `list`, if there is one.
    pub fn next_page(self, list: &List, next_cursor: Option<&str>) -> Self {
        self.link(next_cursor.map(|next| list.link(next)))
    }

    fn link(self, link: Option<String>) -> Self {
        match link {
            Some(link) => self.header(LINK, link),
            None => self,
        }
    }

    fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl<const STATUS: u16, T: Serialize> Reply<STATUS, T> {
    /// The headers and the JSON.
    ///
    /// # Errors
    /// `internal` when the body has no JSON form, or a header is none.
    pub(super) fn into_parts(self) -> Result<(HeaderMap, Vec<u8>)> {
        let mut json = Vec::with_capacity(self.room);
        serde_json::to_writer(&mut json, &self.body).map_err(Error::internal)?;
        let mut headers = HeaderMap::with_capacity(USUAL_HEADERS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::try_from(value).map_err(Error::internal)?);
        }
        Ok((headers, json))
    }
}

impl<const STATUS: u16, T: Serialize> IntoResponse for Reply<STATUS, T> {
    fn into_response(self) -> Response {
        let (headers, json) = match self.into_parts() {
            Ok(parts) => parts,
            Err(error) => return error.into_response(),
        };
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = StatusCode::from_u16(STATUS).expect("a handler's status is a status");
        *response.headers_mut() = headers;
        response
    }
}

/// The answer to a `PUT` of something that may not have been there: 201 with its URL, or 200.
pub struct Upserted<T> {
    reply: Reply<200, T>,
    created: bool,
}

impl<T> Upserted<T> {
    /// The answer `reply`; with `created_at`, the URL of what was not there before.
    pub fn new(reply: Reply<200, T>, created_at: Option<String>) -> Self {
        match created_at {
            Some(location) => Upserted { reply: reply.location(location), created: true },
            None => Upserted { reply, created: false },
        }
    }
}

impl<T: Serialize> IntoResponse for Upserted<T> {
    fn into_response(self) -> Response {
        let mut response = self.reply.into_response();
        if self.created && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::CREATED;
        }
        response
    }
}

/// Done; there is nothing to say. 204.
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A page of a `/v1` list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Items<T> {
    /// The things.
    pub items: Vec<T>,
    /// Where the list goes on: send it back as `?cursor=`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T: ToSchema> PartialSchema for Items<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let cursor = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let cursor =
            cursor.description(Some("Where the list goes on: send it back as `?cursor=`. Absent on the last page."));
        ObjectBuilder::new().property("items", items).required("items").property("nextCursor", cursor).into()
    }
}

impl<T: ToSchema> ToSchema for Items<T> {
    /// By hand, because the derived one refers to the schema of `T` without adding it.
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

impl<T> Reply<200, Items<T>> {
    /// A page, each thing as `view` shows it, with the `Link` to the next.
    pub fn page<S>(list: &List, listing: Listing<S>, view: impl Fn(S) -> T) -> Self {
        let next_cursor = listing.next.map(crate::store::Cursor::into_text);
        let link = next_cursor.as_deref().map(|next| list.link(next));
        let count = listing.items.len();
        let items = Items { items: listing.items.into_iter().map(view).collect(), next_cursor };
        Reply::new(items).listing(count).link(link)
    }
}

impl<T> Reply<200, Vec<T>> {
    /// A page without an envelope: a bare array of the things as `view` shows them, without those it does not show. Only
    /// the `Link` tells of the next.
    pub fn bare_page<S>(list: &List, listing: Listing<S>, view: impl Fn(S) -> Option<T>) -> Self {
        let link = listing.next.map(|next| list.link(&next.into_text()));
        Reply::new(listing.items.into_iter().filter_map(view).collect()).link(link)
    }
}

/// The envelope of the classic paths of the shop: `{"message":"Successfully finished operation: \"GET\"","body":…}`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Classic<T> {
    message: String,
    #[schema(inline)]
    body: T,
    /// Where the list goes on: send it back as `?cursor=`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// `{}`.
#[derive(Serialize, ToSchema)]
pub struct Nothing {}

impl<T> Classic<T> {
    /// The envelope of an answer to `method`.
    pub fn reply<const STATUS: u16>(method: &str, body: T) -> Reply<STATUS, Classic<T>> {
        let message = format!("Successfully finished operation: \"{method}\"");
        Reply::new(Classic { message, body, next_cursor: None })
    }
}

impl<T> Classic<Vec<T>> {
    /// The envelope of a page, each thing as `view` shows it.
    pub fn page<S>(
        method: &str,
        list: &List,
        listing: Listing<S>,
        view: impl Fn(S) -> T,
    ) -> Reply<200, Classic<Vec<T>>> {
        let mut reply = Classic::reply(method, listing.items.into_iter().map(view).collect());
        reply.body.next_cursor = listing.next.map(crate::store::Cursor::into_text);
        let link = reply.body.next_cursor.as_deref().map(|next| list.link(next));
        reply.link(link)
    }
}
