//! One closed error for the whole application.
//!
//! A [`Kind`] decides two things and nothing else does: the HTTP status a caller sees, and the fate of a message whose
//! handler failed ([`Kind::fate`]). The `code` is stable and for programs; the message is for people and is safe to
//! show; the source is for the log only.

use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What went wrong, as coarse as a caller needs to react to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is malformed: syntax, a missing or bad field. 400.
    Invalid,
    /// Nobody knows who asks, and it matters. 401.
    Unauthenticated,
    /// It may not be done. 403.
    Forbidden,
    /// Nothing is there. 404.
    NotFound,
    /// The path exists, the method does not. 405.
    MethodNotAllowed,
    /// The state of things forbids it; nothing changed. 409.
    Conflict,
    /// `If-Match` named a version that is no longer the current one. 412.
    PreconditionFailed,
    /// The body is larger than a body may be. 413.
    TooLarge,
    /// The body is not `application/json`. 415.
    UnsupportedMediaType,
    /// Well formed, but it refers to something that does not exist or contradicts an earlier request. 422.
    Unprocessable,
    /// More than one caller may ask for. Nothing was done. 429.
    TooManyRequests,
    /// More than this server takes on. Nothing was done; safe to try again later. 503.
    Overloaded,
    /// Not now: timed out, disk full. Safe to try again later. 503.
    Unavailable,
    /// A defect, or damage. 500, and the cause is in the log.
    Internal,
}

/// What becomes of a message whose handler returned an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Receive it again later, up to the queue's maximum receives; then dead-letter it.
    Retry,
    /// No number of receives can help: dead-letter it at once.
    DeadLetter,
}

impl Kind {
    /// The HTTP status of a response that carries this kind.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Kind::Overloaded | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What becomes of a message whose handler failed with this kind. A message that is itself wrong can never succeed;
    /// everything else may, once its cause has arrived, the contention is over or the defect is mended.
    pub fn fate(self) -> Fate {
        match self {
            Kind::Invalid
            | Kind::Unauthenticated
            | Kind::Forbidden
            | Kind::TooLarge
            | Kind::UnsupportedMediaType
            | Kind::Unprocessable => Fate::DeadLetter,
            Kind::NotFound
            | Kind::MethodNotAllowed
            | Kind::Conflict
            | Kind::PreconditionFailed
            | Kind::TooManyRequests
            | Kind::Overloaded
            | Kind::Unavailable
            | Kind::Internal => Fate::Retry,
        }
    }
}

/// One bad field of a request: where it is (an RFC 6901 JSON pointer, or `?name` for a query parameter) and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the request body, or `?name` for a query parameter.
    pub pointer: String,
    /// What is wrong with the value.
    pub detail: String,
}

/// The error every fallible function of the application returns.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    code: &'static str,
    message: String,
    fields: Vec<FieldError>,
    extra: Map<String, Value>,
    source: Option<String>,
}

/// A result of the application.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with a stable machine `code` and a message that is safe to show to anyone.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Inner { kind, code, message, fields: Vec::new(), extra: Map::new(), source: None }))
    }

    /// One bad field of the request's body.
    pub fn field(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        Error::fields(vec![FieldError { pointer: pointer.into(), detail: detail.to_string() }])
    }

    /// Several bad fields of the request's body.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let mut error = Error::new(Kind::Invalid, "invalid_request", "The request has fields that cannot be accepted.");
        error.0.fields = fields;
        error
    }

    /// Nothing is there, of the given noun: `not_found("product")` has the code `product_not_found`.
    pub fn not_found(code: &'static str, what: impl fmt::Display) -> Self {
        Error::new(Kind::NotFound, code, format!("There is no {what}."))
    }

    /// A defect or damage. The caller learns nothing but that; the log gets `source`.
    pub fn internal(source: impl fmt::Display) -> Self {
        Error::new(Kind::Internal, "internal_error", "Something went wrong on our side; the log has the details.")
            .because(source)
    }

    /// Adds the cause, for the log only.
    pub fn because(mut self, source: impl fmt::Display) -> Self {
        self.0.source = Some(source.to_string());
        self
    }

    /// Adds a member to the problem document, for example the two totals of a changed price.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.0.extra.insert(name.to_owned(), value);
        self
    }

    /// What went wrong, coarsely.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable machine code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The bad fields of the request, if it has any.
    pub fn bad_fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// The cause, for the log.
    pub fn source_text(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// The RFC 9457 problem document of this error. `request_id` lets a caller's report be found in the log.
    pub fn problem(&self, request_id: &str) -> Value {
        let mut problem = self.0.extra.clone();
        problem.insert("title".into(), title(self.0.code).into());
        problem.insert("status".into(), self.0.kind.status().as_u16().into());
        problem.insert("code".into(), self.0.code.into());
        problem.insert("detail".into(), self.0.message.clone().into());
        if !self.0.fields.is_empty() {
            problem.insert("errors".into(), serde_json::to_value(&self.0.fields).unwrap_or(Value::Null));
        }
        problem.insert("requestId".into(), request_id.into());
        Value::Object(problem)
    }
}

/// `price_changed` → `Price Changed`.
fn title(code: &str) -> String {
    let capitalise = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    code.split('_').map(capitalise).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        for field in &self.0.fields {
            write!(f, " [{} {}]", field.pointer, field.detail)?;
        }
        if let Some(source) = &self.0.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
