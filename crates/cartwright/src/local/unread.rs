//! Bodies that nobody wanted.
//!
//! Many a request is answered from its head alone: there is no such path, or its precondition fails. Its body may still be
//! on the way then. hyper closes a connection whose body has not come, without having said so, and a client that keeps its
//! connections loses its next request. So the rest of a body is read before the answer goes out; where it does not come, the
//! answer says that the connection ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::rest::{Door, MAX_BODY_BYTES};

/// Longest wait for the rest of a body: it is under way when its head is there.
const REST_TIMEOUT: Duration = Duration::from_millis(500);

/// Answers a request, and reads what is left of its body.
pub(super) async fn answer(door: &Door, request: Request<Incoming>) -> Response {
    if request.body().is_end_stream() {
        return door.answer(request.map(Body::new)).await;
    }
    // Whoever asks for leave to send a body sends none after an answer.
    let waits = request.headers().contains_key(EXPECT);
    let (give_back, mut given_back) = oneshot::channel();
    let lend = |body| Body::new(Lent { body: Some(body), give_back: Some(give_back) });
    let mut response = door.answer(request.map(lend)).await;
    if let Ok(rest) = given_back.try_recv()
        && (waits || !has_come(rest).await)
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads a body to its end, unless that is too far or does not come in time.
async fn has_come(rest: Incoming) -> bool {
    let mut rest = Limited::new(rest, MAX_BODY_BYTES);
    let read = async {
        while let Some(frame) = rest.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(REST_TIMEOUT, read).await.unwrap_or(false)
}

/// A body that is given back when it is dropped before its end.
struct Lent {
    body: Option<Incoming>,
    give_back: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give_back)) =
            (self.body.take().filter(|body| !body.is_end_stream()), self.give_back.take())
        {
            // When nobody waits for it any more, the request was given up, and its connection with it.
            let _ = give_back.send(body);
        }
    }
}
