//! What handlers take out of a request: path segments, parameters, bodies, preconditions, claims to be done once.

use std::borrow::Cow;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path};
use axum::http::request::Parts;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::uri::PathAndQuery;
use http::{HeaderName, Request, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::{MAX_BODY_BYTES, RequestId};
use crate::access::{Allowed, Principal};
use crate::app::App;
use crate::catalog::MovementId;
use crate::error::{Error, FieldError, Kind, Result};
use crate::events::Queue;
use crate::purchases::PurchaseId;
use crate::queues::DeadLetterId;
use crate::store::{Cursor, MAX_PAGE, Once};
use crate::values::{OrderId, ProductId, Username};

/// The header of a request that is to be carried out once.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest `Idempotency-Key`.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Documents in a page when the caller does not say.
const DEFAULT_LIMIT: usize = 20;
/// Most bad fields that are named in one answer.
const MAX_NAMED_FIELDS: usize = 20;

/// The application, as seen by this request. Nobody gets it whom the guard of a route has not let pass.
impl FromRequestParts<App> for App {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let allowed = parts.extensions.get::<Allowed>();
        let app = allowed.map(|allowed| app.for_allowed(allowed));
        let app = app.ok_or_else(|| Error::internal("a route has no guard: it is in no line of the list"))?;
        let id = parts.extensions.get::<RequestId>();
        Ok(match id {
            Some(id) => app.for_request(&id.0),
            None => app,
        })
    }
}

/// What the variable parts of a path are. Text that cannot be an id names nothing: 404. A name that someone chose may be
/// wrong: 400.
pub trait PathValue: Sized {
    /// Parses one part.
    fn parse(text: &str) -> Result<Self>;
}

impl PathValue for ProductId {
    fn parse(text: &str) -> Result<Self> {
        ProductId::from_str(text).map_err(|_| Error::not_found("product_not_found", "such product"))
    }
}

impl PathValue for MovementId {
    fn parse(text: &str) -> Result<Self> {
        let id = uuid::Uuid::try_parse(text).map(MovementId);
        id.map_err(|_| Error::not_found("movement_not_found", "such line in the ledger"))
    }
}

impl PathValue for u32 {
    fn parse(text: &str) -> Result<Self> {
        text.parse().map_err(|_| Error::not_found("address_not_found", "such address in the book"))
    }
}

impl PathValue for PurchaseId {
    fn parse(text: &str) -> Result<Self> {
        let id = uuid::Uuid::try_parse(text).map(PurchaseId);
        id.map_err(|_| Error::not_found("purchase_not_found", "such purchase"))
    }
}

impl PathValue for OrderId {
    fn parse(text: &str) -> Result<Self> {
        OrderId::from_str(text).map_err(|_| Error::not_found("order_not_found", "such order"))
    }
}

impl PathValue for Queue {
    fn parse(text: &str) -> Result<Self> {
        let names = Queue::ALL.map(Queue::name).join(", ");
        let missing = || Error::not_found("queue_not_found", format!("such queue; there are {names}"));
        Queue::named(text).ok_or_else(missing)
    }
}

/// The id of an API key.
pub struct KeyId(pub String);

impl PathValue for KeyId {
    fn parse(text: &str) -> Result<Self> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id { Ok(KeyId(text.to_owned())) } else { Err(crate::access::ops::no_such_key()) }
    }
}

impl PathValue for DeadLetterId {
    fn parse(text: &str) -> Result<Self> {
        DeadLetterId::from_str(text)
    }
}

impl PathValue for Username {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why| Error::new(Kind::Invalid, "invalid_user_name", format!("The user name {why}."));
        Username::try_from(text).map_err(wrong)
    }
}

/// The variable part of the path, or the two of them.
pub struct Segment<T>(pub T);

async fn path_parts(parts: &mut Parts, app: &App) -> Result<Vec<(String, String)>> {
    let not_utf8 = |_| Error::new(Kind::Invalid, "invalid_path", "The path is not UTF-8.");
    Path::from_request_parts(parts, app).await.map(|Path(parts)| parts).map_err(not_utf8)
}

fn no_such_path() -> Error {
    Error::not_found("route_not_found", "such path")
}

impl<T: PathValue> FromRequestParts<App> for Segment<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        match path_parts(parts, app).await?.as_slice() {
            [(_, only)] => T::parse(only).map(Segment),
            _ => Err(no_such_path()),
        }
    }
}

impl<A: PathValue, B: PathValue> FromRequestParts<App> for Segment<(A, B)> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        match path_parts(parts, app).await?.as_slice() {
            [(_, first), (_, second)] => Ok(Segment((A::parse(first)?, B::parse(second)?))),
            _ => Err(no_such_path()),
        }
    }
}

/// The query parameters as a `T`; those it does not know are ignored.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let bad = |error: serde_urlencoded::de::Error| Error::field("?", error);
        serde_urlencoded::from_str(query).map(Params).map_err(bad)
    }
}

/// A time in a query parameter. A `+` of its offset that the caller did not encode arrives as a space.
///
/// # Errors
/// `invalid_request` at `pointer`.
pub fn time_in_query(pointer: &str, text: &str) -> Result<Timestamp> {
    text.replace(' ', "+").parse().map_err(|_| Error::field(pointer, "must be an RFC 3339 time"))
}

/// Which page of a list is asked for.
#[derive(Debug, Clone)]
pub struct List {
    limit: Option<usize>,
    cursor: Option<String>,
    uri: Uri,
}

/// A page of things, and where the next begins.
#[derive(Debug)]
pub struct Listing<T> {
    /// The things.
    pub items: Vec<T>,
    /// Where the list goes on, if it may.
    pub next: Option<Cursor>,
}

impl List {
    /// How many things at most.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// Whether the caller said how many.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The same list in pages of another size.
    pub fn of_size(&self, limit: usize) -> List {
        List { limit: Some(limit), ..self.clone() }
    }

    /// The same list from another place on.
    pub fn from(self, cursor: Cursor) -> List {
        List { cursor: Some(cursor.into_text()), ..self }
    }

    /// The sort key to go on after, in the list called `scope`.
    ///
    /// # Errors
    /// `invalid_request` for a cursor of another list.
    pub fn after(&self, scope: &str) -> Result<Option<String>> {
        self.cursor.as_deref().map(|text| Cursor::read(scope, text)).transpose()
    }

    /// Path and query of the request, which tell this page from all others.
    pub(super) fn url(&self) -> &str {
        self.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// The value of the `Link` header that leads to the next page: this request's URL with another cursor.
    pub(super) fn link(&self, next: &str) -> String {
        let others = serde_urlencoded::from_str::<Vec<(String, String)>>(self.uri.query().unwrap_or_default())
            .unwrap_or_default();
        let mut query = String::new();
        for (name, value) in others.iter().filter(|(name, _)| name != "cursor") {
            query += &serde_urlencoded::to_string([(name, value)]).unwrap_or_default();
            query.push('&');
        }
        format!("<{}?{query}cursor={next}>; rel=\"next\"", self.uri.path())
    }
}

impl FromRequestParts<App> for List {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self> {
        let (mut limit, mut cursor) = (None, None);
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|error| Error::field("?", error))?;
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => {
                    let in_range = value.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                    let refuse = || Error::field("?limit", format!("must be a whole number from 1 to {MAX_PAGE}"));
                    limit = Some(in_range.ok_or_else(refuse)?);
                }
                "cursor" => cursor = Some(value),
                _ => {}
            }
        }
        Ok(List { limit, cursor, uri: parts.uri.clone() })
    }
}

/// The version a caller has seen, from `If-Match`. Without the header every version will do.
#[derive(Debug, Clone, Default)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// Refuses unless the caller has seen the version `etag`.
    ///
    /// # Errors
    /// `precondition_failed` with the current entity tag.
    pub fn check(&self, etag: &str) -> Result<()> {
        self.check_by(|tag| tag == etag.trim_matches('"'), etag)
    }

    /// Refuses when the caller has seen any version: there is nothing now.
    ///
    /// # Errors
    /// `precondition_failed`.
    pub fn check_absent(&self) -> Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        let message = "There is nothing that could have the version you have seen.";
        Err(Error::new(Kind::PreconditionFailed, "precondition_failed", message))
    }

    /// Refuses unless one of the caller's tags (without its quotes) satisfies `accepts`.
    ///
    /// # Errors
    /// `precondition_failed` with the current entity tag.
    pub fn check_by(&self, accepts: impl Fn(&str) -> bool, etag: &str) -> Result<()> {
        let Some(tags) = &self.0 else { return Ok(()) };
        if tags.iter().any(|tag| tag == "*" || accepts(tag.trim_matches('"'))) {
            return Ok(());
        }
        let message = "This was changed since you read it. Read it again and decide again.";
        Err(Error::new(Kind::PreconditionFailed, "precondition_failed", message).with("etag", etag))
    }
}

impl FromRequestParts<App> for IfMatch {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self> {
        let Some(value) = parts.headers.get(IF_MATCH) else { return Ok(IfMatch(None)) };
        let text =
            value.to_str().map_err(|_| Error::new(Kind::Invalid, "invalid_if_match", "If-Match is not text."))?;
        Ok(IfMatch(Some(text.split(',').map(|tag| tag.trim().to_owned()).collect())))
    }
}

/// The body of a `POST`, and the claim to be carried out once.
pub struct Post<T> {
    /// The body.
    pub body: T,
    /// The claim.
    pub once: Once,
}

/// The claim of a `POST` that needs no body. One that is sent does no harm.
pub struct Bare(pub Once);

/// The body of a `PUT` or `PATCH`: repeating those is harmless by their nature.
pub struct Put<T>(pub T);

impl<T: DeserializeOwned + ToSchema> FromRequest<App> for Post<T> {
    type Rejection = Error;
    async fn from_request(request: Request<axum::body::Body>, app: &App) -> Result<Self> {
        let (parts, bytes) = read(request).await?;
        let once = claim(app, &parts, &bytes)?;
        Ok(Post { body: decode(&bytes)?, once })
    }
}

impl FromRequest<App> for Bare {
    type Rejection = Error;
    async fn from_request(request: Request<axum::body::Body>, app: &App) -> Result<Self> {
        let (parts, bytes) = read(request).await?;
        claim(app, &parts, &bytes).map(Bare)
    }
}

impl<T: DeserializeOwned + ToSchema> FromRequest<App> for Put<T> {
    type Rejection = Error;
    async fn from_request(request: Request<axum::body::Body>, _app: &App) -> Result<Self> {
        let (_, bytes) = read(request).await?;
        decode(&bytes).map(Put)
    }
}

async fn read(request: Request<axum::body::Body>) -> Result<(Parts, Bytes)> {
    let (parts, body) = request.into_parts();
    check_content_type(&parts)?;
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok((parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("A request body has at most {MAX_BODY_BYTES} bytes.");
            Err(Error::new(Kind::TooLarge, "body_too_large", message))
        }
        Err(error) => {
            Err(Error::new(Kind::Invalid, "body_incomplete", "The body did not arrive in whole.").because(error))
        }
    }
}

/// `/v1` takes JSON that says so (or says nothing). The designs behind the classic paths never looked at the type, and
/// their clients send what their tools send, so neither do those paths.
fn check_content_type(parts: &Parts) -> Result<()> {
    let Some(value) = parts.headers.get(CONTENT_TYPE).filter(|_| parts.uri.path().starts_with("/v1/")) else {
        return Ok(());
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Error::new(Kind::UnsupportedMediaType, "unsupported_media_type", "Send the body as application/json."))
}

fn claim(app: &App, parts: &Parts, body: &[u8]) -> Result<Once> {
    let Parts { headers, method, uri, extensions, .. } = parts;
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(Once::unkeyed()) };
    let key = value.to_str().ok().filter(|key| {
        !key.is_empty() && key.len() <= MAX_IDEMPOTENCY_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let Some(key) = key else {
        let message = format!("An Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters.");
        return Err(Error::new(Kind::Invalid, "invalid_idempotency_key", message));
    };
    let body = &*without_card_numbers(body);
    let mut hasher = blake3::Hasher::new();
    for part in [method.as_str().as_bytes(), uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes(), body] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    // Everybody has keys of their own. No key that is sent has a tab.
    let key = match extensions.get::<Allowed>().map(|allowed| &*allowed.principal) {
        Some(Principal::Known(known)) => format!("{}\t{key}", &blake3::hash(known.id.as_bytes()).to_hex()[..32]),
        _ => key.to_owned(),
    };
    Once::claim(&app.in_flight, key, hasher.finalize().to_hex()[..32].to_owned())
}

/// `body` with all but the last four digits of anything that could be a card number struck out. A digest of the number
/// would be as good as the number: what can be guessed in an afternoon is not hidden by hashing (PCI DSS, 3.5).
fn without_card_numbers(body: &[u8]) -> Cow<'_, [u8]> {
    let mut struck = Cow::Borrowed(body);
    let mut digits: Vec<usize> = Vec::new();
    for at in 0..=body.len() {
        match body.get(at) {
            Some(b'0'..=b'9') => digits.push(at),
            Some(b' ' | b'-') if !digits.is_empty() => {}
            _ => {
                if digits.len() >= 12 {
                    digits[..digits.len() - 4].iter().for_each(|&digit| struck.to_mut()[digit] = b'*');
                }
                digits.clear();
            }
        }
    }
    struck
}

/// Parses a JSON body into a `T`, or names every field that stands in the way.
///
/// # Errors
/// `malformed_json`; `invalid_request` with a JSON pointer for each bad or missing field.
pub fn decode<T: DeserializeOwned + ToSchema>(bytes: &[u8]) -> Result<T> {
    let body = serde_json::from_slice(bytes).map_err(|error| why_not::<T>(bytes, &error))?;
    // Serde takes an array for a struct too, its elements for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::field("", "must be a JSON object"));
    }
    Ok(body)
}

/// Finds out what is wrong with a body that is not a `T`. The parser stops at the first bad value, so each one found is
/// taken out and the rest is tried again.
fn why_not<T: DeserializeOwned + ToSchema>(bytes: &[u8], first: &serde_json::Error) -> Error {
    let mut body: Value = match serde_json::from_slice(bytes) {
        Ok(body) => body,
        Err(error) => {
            let message = format!("The body is not JSON: {error}.");
            return Error::new(Kind::Invalid, "malformed_json", message);
        }
    };
    if !body.is_object() {
        return Error::field("", "must be a JSON object");
    }
    let sent = body.clone();
    let mut fields: Vec<FieldError> = Vec::new();
    let mut missing = missing_fields::<T>(&sent);
    let mut elements_out = Vec::new();
    while fields.len() < MAX_NAMED_FIELDS {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(body.clone()) else { break };
        let (mut at, detail) = (pointer_of(error.path()), error.inner().to_string());
        // What is missing cannot be taken out; what it is missing from can, unless that is the body itself.
        let take_out = at.clone();
        let mut reason = detail.as_str();
        if let Some(name) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            at = format!("{at}/{name}");
            reason = "is required";
        } else if take_out.is_empty() {
            break;
        }
        let pointer = as_sent(&at, &elements_out);
        let taken_out_before = reason == "is required" && sent.pointer(&pointer).is_some();
        if !taken_out_before && !fields.iter().chain(&missing).any(|field| field.pointer == pointer) {
            fields.push(FieldError { pointer, detail: reason.to_owned() });
        }
        if !remove(&mut body, &take_out, &mut elements_out) {
            break;
        }
    }
    fields.append(&mut missing);
    if fields.is_empty() {
        return Error::field("", first);
    }
    Error::fields(fields)
}

/// The required fields that are not in `body`, at its top level.
fn missing_fields<T: PartialSchema>(body: &Value) -> Vec<FieldError> {
    let RefOr::T(Schema::Object(object)) = T::schema() else { return Vec::new() };
    let absent = object.required.iter().filter(|name| body.get(name.as_str()).is_none());
    absent.map(|name| FieldError { pointer: format!("/{name}"), detail: "is required".to_owned() }).collect()
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

/// Takes the value at `pointer` out of `body`; notes it in `elements_out` when it was an element of an array, because the
/// elements behind it now have other places.
fn remove(body: &mut Value, pointer: &str, elements_out: &mut Vec<(String, usize)>) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    match body.pointer_mut(parent) {
        Some(Value::Object(object)) => object.remove(&name.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Value::Array(array)) => {
            let Some(at) = name.parse().ok().filter(|at| *at < array.len()) else { return false };
            array.remove(at);
            let sent = as_sent(pointer, elements_out);
            let sent_at = sent.rsplit('/').next().and_then(|at| at.parse().ok());
            elements_out.push((as_sent(parent, elements_out), sent_at.unwrap_or(at)));
            elements_out.sort_unstable();
            true
        }
        _ => false,
    }
}

/// The pointer into the body as it was sent, of a pointer into the body without `elements_out`.
fn as_sent(pointer: &str, elements_out: &[(String, usize)]) -> String {
    let mut sent = String::new();
    for segment in pointer.split('/').skip(1) {
        let place = segment.parse::<usize>().map(|mut at| {
            elements_out.iter().filter(|(array, _)| *array == sent).for_each(|(_, out)| at += usize::from(*out <= at));
            at.to_string()
        });
        sent = format!("{sent}/{}", place.unwrap_or_else(|_| segment.to_owned()));
    }
    sent
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::values::{Decimal, Quantity, Text};

    #[derive(Debug, PartialEq, Deserialize, ToSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Thing {
        name: Text<1, 5>,
        price: Decimal,
        #[serde(default)]
        parts: Vec<Part>,
        how_many: Quantity,
    }

    #[derive(Debug, PartialEq, Deserialize, ToSchema)]
    struct Part {
        size: Quantity,
    }

    fn pointers(body: &str) -> Vec<String> {
        let error = decode::<Thing>(body.as_bytes()).unwrap_err();
        let problem = error.problem("r");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|field| field["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_card_number_is_struck_out_before_it_is_hashed() {
        let struck =
            |text: &'static str| String::from_utf8(without_card_numbers(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(struck(r#"{"card":"4929 1234-5678 1234"}"#), r#"{"card":"**** ****-**** 1234"}"#);
        assert_eq!(struck(r#"{"card":4929123456781234,"n":12345}"#), r#"{"card":************1234,"n":12345}"#);
        assert_eq!(struck("49291234567"), "49291234567");
    }

    #[test]
    fn every_bad_field_is_named() {
        let good = r#"{"name":"a","price":1.50,"howMany":2,"parts":[{"size":1}]}"#;
        let thing = Thing {
            name: "a".try_into().unwrap(),
            price: Decimal::parse("1.50").unwrap(),
            parts: vec![Part { size: 1.try_into().unwrap() }],
            how_many: 2.try_into().unwrap(),
        };
        assert_eq!(decode::<Thing>(good.as_bytes()).unwrap(), thing);
        let bad = r#"{"name":"toolong","price":"x","parts":[{"size":0},{"size":1},{},7,{"size":-1}],"other":1}"#;
        let parts = ["/parts/0/size", "/parts/2/size", "/parts/3", "/parts/4/size"];
        assert_eq!(pointers(bad), [&["/name", "/other"], &parts[..], &["/price", "/howMany"]].concat());
        assert_eq!(pointers("{}"), ["/name", "/price", "/howMany"]);
        assert_eq!(pointers(r#"{"name":"a","price":1,"howMany":1,"parts":[{}]}"#), ["/parts/0/size"]);
        assert_eq!(pointers("[]"), [""]);
        assert_eq!(
            pointers(r#"{"name":"a","price":1,"howMany":1,"howMany":1}"#),
            [""],
            "and what has no place is told too"
        );
        assert_eq!(decode::<Thing>(b"{").unwrap_err().code(), "malformed_json");
    }
}
