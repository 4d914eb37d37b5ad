//! An HTTP client that does to requests what DynamoDB and the network do to them on a bad day. No emulator does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Refused for the rate.
    Throttled,
    /// Refused because another transaction is at work on an item.
    Conflict,
    /// Lost on its way there: nothing happens.
    RequestLost,
    /// Carried out, but the answer is lost.
    AnswerLost,
    /// The service breaks, before it does anything.
    ServerError,
}

/// How often something happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: AtomicU64,
    pub faults: AtomicU64,
}

/// A client of which about a third of the requests meet a fault, always the same ones for the same `seed`.
pub fn faulty_client(seed: u64) -> (SharedHttpClient, Arc<Tally>) {
    let tally = Arc::<Tally>::default();
    let client = FaultyClient { inner: Builder::new().build_http(), seed, tally: Arc::clone(&tally) };
    (SharedHttpClient::new(client), tally)
}

#[derive(Debug)]
struct FaultyClient {
    inner: SharedHttpClient,
    seed: u64,
    tally: Arc<Tally>,
}

impl HttpClient for FaultyClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { inner, seed: self.seed, tally: Arc::clone(&self.tally) })
    }
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    seed: u64,
    tally: Arc<Tally>,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let at = self.tally.requests.fetch_add(1, Ordering::Relaxed);
        let is_transaction = request.headers().get("x-amz-target").is_some_and(|target| target.contains("Transact"));
        let Some(fault) = fault(self.seed, at) else { return self.inner.call(request) };
        self.tally.faults.fetch_add(1, Ordering::Relaxed);
        let lost = || ConnectorError::timeout("lost by the test".into());
        match fault {
            Fault::RequestLost => HttpConnectorFuture::ready(Err(lost())),
            Fault::AnswerLost => {
                let answer = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let _ = answer.await;
                    Err(lost())
                })
            }
            Fault::ServerError => refused(500, "InternalServerError", ""),
            Fault::Conflict if is_transaction => refused(
                400,
                "TransactionCanceledException",
                r#","CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}]"#,
            ),
            Fault::Conflict => refused(400, "TransactionConflictException", ""),
            Fault::Throttled => refused(400, "ProvisionedThroughputExceededException", ""),
        }
    }
}

fn refused(status: u16, kind: &str, more: &str) -> HttpConnectorFuture {
    let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{kind}","message":"by the test"{more}}}"#);
    let status = status.try_into().expect("a status");
    HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
}

/// A third of all requests meet one, by turns that look random (SplitMix64).
fn fault(seed: u64, at: u64) -> Option<Fault> {
    let mut x = seed.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    match (x ^ (x >> 31)) % 15 {
        0 => Some(Fault::Throttled),
        1 => Some(Fault::Conflict),
        2 => Some(Fault::RequestLost),
        3 => Some(Fault::AnswerLost),
        4 => Some(Fault::ServerError),
        _ => None,
    }
}
