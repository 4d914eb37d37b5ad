//! The OpenAPI document, made of the handlers themselves.
//!
//! What a handler takes and answers is in its signature; [`Describe`] says of each such type what it adds to the
//! description of an operation. So the document cannot say one thing and the code do another.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, delete, get, on, patch, post, put};
use http::Method;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::extract::{Bare, IfMatch, List, Params, Post, Put, Segment};
use super::kept::Kept;
use super::reply::{NoContent, Reply, Upserted};
use crate::access::{Guarded, Requires, Route};
use crate::app::App;
use crate::error::{FieldError, Result};

/// What is known of one operation.
#[derive(Default)]
pub struct Operation {
    parameters: Vec<Parameter>,
    media: Media,
    body: Option<RefOr<Schema>>,
    responses: BTreeMap<u16, Option<RefOr<Schema>>>,
    problems: BTreeMap<u16, &'static str>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// The type of what an operation answers.
struct Media(&'static str);

const EVENT_STREAM: Media = Media("text/event-stream");

impl Default for Media {
    fn default() -> Self {
        Media("application/json")
    }
}

impl Operation {
    fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        let schema = T::schema();
        let is_generic = std::any::type_name::<T>().contains('<');
        let is_plain = match &schema {
            RefOr::T(Schema::Object(object)) => object.properties.is_empty(),
            RefOr::T(Schema::Array(_)) | RefOr::Ref(_) => true,
            RefOr::T(_) => false,
        };
        if is_generic || is_plain {
            return schema;
        }
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), schema));
        Ref::from_schema_name(name).into()
    }

    pub(crate) fn problem(&mut self, status: u16, when: &'static str) {
        self.problems.insert(status, when);
    }

    /// It answers with a stream of events.
    pub(crate) fn event_stream(&mut self) {
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        self.responses.insert(200, Some(text.into()));
        self.media = EVENT_STREAM;
    }

    pub(crate) fn header(&mut self, name: &str, about: &str) {
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
        self.parameters.push(parameter.description(Some(about)).schema(Some(text)).build());
    }

    fn query(&mut self, name: &str, schema: Object, about: &str) {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
        self.parameters.push(parameter.description(Some(about)).schema(Some(schema)).build());
    }

    fn json_body<T: ToSchema>(&mut self) {
        self.body = Some(self.schema::<T>());
        self.problem(400, "The body is not JSON, or has fields that cannot be accepted.");
        self.problem(413, "The body is too large.");
        self.problem(415, "The body is not application/json.");
    }
}

/// A type in a handler's signature that says what it means for the operation.
pub trait Describe {
    /// Adds what this type means to `operation`.
    fn describe(operation: &mut Operation);
}

impl Describe for App {
    fn describe(operation: &mut Operation) {
        operation.problem(429, "Too many requests of one caller; try again after the time in Retry-After.");
        operation.problem(503, "Not now; try again after the time in Retry-After.");
        operation.problem(500, "A defect on our side.");
    }
}

impl<T> Describe for Segment<T> {
    fn describe(operation: &mut Operation) {
        operation.problem(400, "A part of the path cannot be what it stands for.");
        operation.problem(404, "Nothing is there.");
    }
}

impl<T: IntoParams> Describe for Params<T> {
    fn describe(operation: &mut Operation) {
        operation.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
        operation.problem(400, "A query parameter cannot be accepted.");
    }
}

impl Describe for List {
    fn describe(operation: &mut Operation) {
        let whole =
            ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(1)).maximum(Some(100));
        operation.query("limit", whole.build(), "Most things in the page; 20 without it.");
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        operation.query("cursor", text.build(), "Where to go on: from a previous page, unchanged.");
        operation.problem(400, "The limit or the cursor cannot be accepted.");
    }
}

impl Describe for IfMatch {
    fn describe(operation: &mut Operation) {
        operation.header("If-Match", "The entity tag you have seen; the change is refused if it is no longer current.");
        operation.problem(412, "It was changed since you read it.");
        operation.problem(409, "The state of things forbids it; nothing changed.");
    }
}

impl<T: ToSchema> Describe for Post<T> {
    fn describe(operation: &mut Operation) {
        operation.json_body::<T>();
        Bare::describe(operation);
    }
}

impl Describe for Bare {
    fn describe(operation: &mut Operation) {
        operation.header(
            "Idempotency-Key",
            "Any text of your own; the request is carried out once, and its answer replayed for a day.",
        );
        operation.problem(409, "The state of things forbids it, or the Idempotency-Key is in use; nothing changed.");
        operation.problem(
            422,
            "It refers to something that does not exist, or the Idempotency-Key was used for another request.",
        );
    }
}

impl<T: ToSchema> Describe for Put<T> {
    fn describe(operation: &mut Operation) {
        operation.json_body::<T>();
        operation.problem(409, "The state of things forbids it; nothing changed.");
        operation.problem(422, "It refers to something that does not exist.");
    }
}

impl<const STATUS: u16, T: ToSchema> Describe for Reply<STATUS, T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schema::<T>();
        operation.responses.insert(STATUS, Some(schema));
    }
}

impl<T: ToSchema> Describe for Kept<T> {
    fn describe(operation: &mut Operation) {
        Reply::<200, T>::describe(operation);
    }
}

impl<T: ToSchema> Describe for Upserted<T> {
    fn describe(operation: &mut Operation) {
        Reply::<200, T>::describe(operation);
        Reply::<201, T>::describe(operation);
    }
}

impl Describe for NoContent {
    fn describe(operation: &mut Operation) {
        operation.responses.insert(204, None);
    }
}

impl<T: Describe> Describe for Result<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// A handler whose signature describes it.
pub trait Documented<Arguments> {
    /// What the operation takes and answers.
    fn operation() -> Operation;
}

macro_rules! documented {
    ($($argument:ident),*) => {
        impl<F, Fut, $($argument,)*> Documented<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut,
            Fut: Future,
            Fut::Output: Describe,
            $($argument: Describe,)*
        {
            fn operation() -> Operation {
                let mut operation = Operation::default();
                $($argument::describe(&mut operation);)*
                Fut::Output::describe(&mut operation);
                operation
            }
        }
    };
}

documented!(A);
documented!(A, B);
documented!(A, B, C);
documented!(A, B, C, D);
documented!(A, B, C, D, E);

/// What all operations have in common.
const ABOUT: &str = "\
A commerce back end: catalogue and stock, baskets, checkout, orders.

Errors are RFC 9457 problems (`application/problem+json`) with a stable `code`, and a JSON pointer for each bad field. \
Lists are paged: go on with `nextCursor`, or follow the `Link` header. What can be changed has an `ETag`; send it back as \
`If-Match`, and the change is refused if someone else was first. Send an `Idempotency-Key` with a `POST`, and it is carried \
out once however often you repeat it. Money is in minor units under `/v1`, in major units on the classic paths.";

/// What is sent to say who one is.
const ABOUT_BEARER: &str = "An API key of the shop, `cw_…`, or a token of the OpenID Connect issuer it is set to.";

/// The routes as they are listed. What describes them is worked out when someone asks for it.
#[derive(Default)]
pub struct Routes {
    router: Router<App>,
    listed: Vec<Listed>,
    beside: Vec<Route>,
    section: &'static str,
}

/// A route, as it is listed.
#[derive(Clone)]
struct Listed {
    method: Method,
    http_method: HttpMethod,
    route: Route,
    operation: fn() -> Operation,
    name: &'static str,
    summary: &'static str,
    section: &'static str,
}

macro_rules! methods {
    ($($name:ident $method:ident $http:ident;)*) => {
        $(
            #[doc = concat!("Adds a `", stringify!($method), "` route.")]
            pub fn $name<H, T, D>(
                mut self,
                path: &'static str,
                requires: Requires,
                handler: H,
                summary: &'static str,
            ) -> Self
            where
                H: Handler<T, App> + Documented<D>,
                T: 'static,
            {
                let route = Route { method: stringify!($method), path, requires };
                self.router = self.router.route(path, $name(Guarded::new(route, handler)));
                self.listed.push(Listed {
                    method: Method::$method,
                    http_method: HttpMethod::$http,
                    route,
                    operation: H::operation,
                    name: std::any::type_name::<H>(),
                    summary,
                    section: self.section,
                });
                self
            }
        )*
    };
}

impl Routes {
    methods! {
        get GET Get;
        post POST Post;
        put PUT Put;
        patch PATCH Patch;
        delete DELETE Delete;
    }

    /// The heading the next routes stand under.
    pub fn section(mut self, section: &'static str) -> Self {
        self.section = section;
        self
    }

    /// Adds a route that the OpenAPI document does not tell of: it is no part of the API, but stands beside it.
    pub fn beside<H, T>(mut self, method: Method, path: &'static str, requires: Requires, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let (filter, method) = match method {
            Method::POST => (MethodFilter::POST, "POST"),
            _ => (MethodFilter::GET, "GET"),
        };
        let route = Route { method, path, requires };
        self.router = self.router.route(path, on(filter, Guarded::new(route, handler)));
        self.beside.push(route);
        self
    }

    /// Method, path and requirement of every route, in the order they were listed; those beside the API last.
    pub fn requirements(self) -> Vec<(&'static str, &'static str, Requires)> {
        let listed = self.listed.into_iter().map(|listed| listed.route);
        listed.chain(self.beside).map(|route| (route.method, route.path, route.requires)).collect()
    }

    /// The path of every route, as often as it was listed.
    pub fn patterns(&self) -> Vec<&'static str> {
        let listed = self.listed.iter().map(|listed| listed.route.path);
        listed.chain(self.beside.iter().map(|route| route.path)).collect()
    }

    /// Method and path of every route of the API, in the order they were listed.
    pub fn table(self) -> Vec<(Method, &'static str)> {
        self.listed.into_iter().map(|listed| (listed.method, listed.route.path)).collect()
    }

    /// What makes the OpenAPI document of the routes listed so far.
    pub fn document(&self) -> impl Fn() -> OpenApi + Send + Sync + use<> {
        let listed = self.listed.clone();
        move || document(&listed)
    }

    /// The router.
    pub fn build(self) -> Router<App> {
        self.router
    }
}

/// The OpenAPI document of the routes.
fn document(routes: &[Listed]) -> OpenApi {
    let (mut paths, mut schemas) = (PathsBuilder::new(), BTreeMap::new());
    let mut sections: Vec<&'static str> = Vec::new();
    for route in routes {
        if sections.last() != Some(&route.section) {
            sections.push(route.section);
        }
        paths = paths.path(route.route.path, PathItem::new(route.http_method.clone(), route.describe(&mut schemas)));
    }
    schemas.insert("Problem".to_owned(), problem_schema());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(ABOUT_BEARER)).build();
    let mut components = ComponentsBuilder::new().security_scheme(BEARER, SecurityScheme::Http(bearer));
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let info = InfoBuilder::new()
        .title("Cartwright")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("MIT OR Apache-2.0")));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(sections.into_iter().map(Tag::new)))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// The one way to say who one is.
const BEARER: &str = "bearer";

/// What an operation takes to say who one is; where nothing is required, it may be left out.
fn securities(requires: Requires) -> Vec<SecurityRequirement> {
    let bearer = SecurityRequirement::new(BEARER, Vec::<String>::new());
    match requires.least_role() {
        None => vec![SecurityRequirement::default(), bearer],
        Some(_) => vec![bearer],
    }
}

/// How an operation is refused to those who may not use it.
fn refusals(requires: Requires) -> Vec<(u16, &'static str)> {
    let nobody = (401, "The credential is missing, or is not good.");
    match requires {
        Requires::Anyone => vec![(401, "A credential was sent, and it is not good.")],
        // What is somebody else's and not named as theirs in the request is told from nothing by no one.
        Requires::Customer => {
            vec![nobody, (403, "It belongs to somebody else."), (404, "Nothing is there, or nothing of yours.")]
        }
        Requires::Staff | Requires::Admin => {
            vec![nobody, (403, "The role does not allow it."), (404, "What the request names is not there.")]
        }
    }
}

impl Listed {
    /// Its operation; the schemas that this names are added to `schemas`.
    fn describe(&self, schemas: &mut BTreeMap<String, RefOr<Schema>>) -> OperationBuilder {
        let (path, requires) = (self.route.path, self.route.requires);
        let operation = (self.operation)();
        for (name, schema) in operation.schemas {
            let other = schemas.insert(name.clone(), schema.clone());
            debug_assert!(other.is_none_or(|other| other == schema), "two types are described under the name {name}");
        }
        let mut builder = OperationBuilder::new()
            .tag(self.section)
            .summary(Some(self.summary))
            .description(Some(requires.about()))
            .securities(Some(securities(requires)))
            .operation_id(Some(operation_id(self.name)));
        for name in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
            let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
            builder = builder.parameter(parameter.schema(Some(text)));
        }
        for parameter in operation.parameters {
            builder = builder.parameter(parameter);
        }
        if let Some(schema) = operation.body {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            builder = builder.request_body(Some(
                RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True)).build(),
            ));
        }
        for (status, schema) in operation.responses {
            let mut response = ResponseBuilder::new().description("Done.");
            if let Some(schema) = schema {
                response = response.content(operation.media.0, ContentBuilder::new().schema(Some(schema)).build());
            }
            builder = builder.response(status.to_string(), response);
        }
        let refusals = refusals(requires);
        for (status, when) in operation.problems.into_iter().chain(refusals) {
            if status == 415 && !path.starts_with("/v1/") {
                continue;
            }
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            builder = builder.response(
                status.to_string(),
                ResponseBuilder::new().description(when).content("application/problem+json", content),
            );
        }
        builder
    }
}

/// `cartwright::catalog::http::list_products` → `list_products`, `….::classic::list_products` → `classic_list_products`.
fn operation_id(name: &str) -> String {
    match name.split_once("::classic::") {
        Some((_, rest)) => format!("classic_{}", rest.replace("::", "_")),
        None => name.rsplit("::").next().unwrap_or(name).to_owned(),
    }
}

/// RFC 9457, with the members every problem of this API has.
fn problem_schema() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let errors = utoipa::openapi::schema::ArrayBuilder::new().items(FieldError::schema());
    ObjectBuilder::new()
        .property("title", text())
        .property("status", ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)))
        .property("code", text().description(Some("Stable, for programs.")))
        .property("detail", text().description(Some("For people.")))
        .property("requestId", text().description(Some("Find it in the log by this.")))
        .property("errors", errors)
        .required("title")
        .required("status")
        .required("code")
        .required("detail")
        .required("requestId")
        .into()
}
