//! The guard of every route: it runs before the handler, and looks at what the handler answers.

use std::pin::Pin;
use std::sync::Arc;

use axum::RequestExt;
use axum::extract::{RawPathParams, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};

use super::{Principal, Requires, Role};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::values::Username;

/// What a part of a path is called that says whose it is.
const OWNERS: [&str; 3] = ["user", "username", "userName"];

/// A route, as its line in the list says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The method.
    pub(crate) method: &'static str,
    /// The path, with its variable parts in braces.
    pub(crate) path: &'static str,
    /// What it requires.
    pub(crate) requires: Requires,
}

/// That the guard has let a request pass, in its extensions; without it no handler gets the application.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    /// Who makes the request.
    pub(crate) principal: Arc<Principal>,
    /// What staff or an admin asks for, if it may change something.
    pub(crate) asked: Option<Arc<Asked>>,
}

/// What is asked for, as the audit trail tells it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method and pattern of the route.
    pub(crate) action: String,
    /// The path, without its query.
    pub(crate) target: String,
}

/// A handler behind its guard.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    handler: H,
    route: Route,
}

impl<H> Guarded<H> {
    /// `handler`, reached by those who may use `route`.
    pub(crate) fn new(route: Route, handler: H) -> Self {
        Guarded { handler, route }
    }
}

impl<H, T> Handler<(Guarded<H>, T), App> for Guarded<H>
where
    H: Handler<T, App>,
    T: 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: App) -> Self::Future {
        Box::pin(async move {
            let Guarded { handler, route } = self;
            match pass(route, request).await {
                Ok((request, principal)) => check(route, &principal, handler.call(request, app).await),
                Err(refused) => refused.into_response(),
            }
        })
    }
}

/// Lets a request pass, or not.
async fn pass(route: Route, mut request: Request) -> Result<(Request, Arc<Principal>)> {
    let Some(principal) = request.extensions().get::<Arc<Principal>>().cloned() else {
        return Err(Error::internal("a request came past the door: nobody has asked who makes it"));
    };
    route.requires.check(&principal)?;
    if route.requires == Requires::Customer && principal.role() == Some(Role::Customer) {
        let params = request.extract_parts::<RawPathParams>().await;
        let params = params.map_err(|_| Error::new(Kind::Invalid, "invalid_path", "The path is not UTF-8."))?;
        if let Some((_, owner)) = params.iter().find(|(name, _)| OWNERS.contains(name)) {
            // What is no name of a customer is nobody's, so not theirs either.
            let owner = Username::try_from(owner);
            owner.map_err(|why| Error::field("", why)).and_then(|owner| principal.must_act_for(&owner))?;
        }
    }
    let is_noted = matches!(*principal, Principal::Known(_)) && principal.is_staff() && !request.method().is_safe();
    let asked = is_noted.then(|| {
        let action = format!("{} {}", route.method, route.path);
        Arc::new(Asked { action, target: request.uri().path().to_owned() })
    });
    request.extensions_mut().insert(Allowed { principal: Arc::clone(&principal), asked });
    Ok((request, principal))
}

/// Keeps a success from a customer for whom nobody has asked whose it is.
fn check(route: Route, principal: &Principal, response: Response) -> Response {
    let may_leave = route.requires != Requires::Customer || !response.status().is_success();
    match if may_leave { Ok(()) } else { principal.must_be_settled() } {
        Ok(()) => response,
        Err(error) => error.into_response(),
    }
}
