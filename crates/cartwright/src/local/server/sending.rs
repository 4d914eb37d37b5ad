//! Answers on their way to clients that may be slow to read them, and whether a connection is at rest.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::rest::{SMALL_BODY_BYTES, Slot};

/// Most of an answer that is handed on before the client has taken what was before it.
const PIECE_BYTES: usize = SMALL_BODY_BYTES;
/// Longest a client may take for an answer that is more than one piece, and for a piece of a stream, which has no end. Then its
/// connection is cut.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// What goes on in a connection, and how it is told to end.
pub(super) struct Pulse {
    opened: Instant,
    active: AtomicUsize,
    /// When something last ended, in milliseconds after it was opened.
    ended_ms: AtomicU64,
    told: Notify,
    is_cut: AtomicBool,
}

/// A request that is at work, or an answer that is being sent.
pub(super) struct Active(Arc<Pulse>);

impl Pulse {
    pub(super) fn new() -> Self {
        Pulse {
            opened: Instant::now(),
            active: AtomicUsize::new(0),
            ended_ms: AtomicU64::new(0),
            told: Notify::new(),
            is_cut: AtomicBool::new(false),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Waits until nothing has gone on for so long, from now on.
    pub(super) async fn rest(&self, long: Duration) {
        let from = self.opened.elapsed();
        loop {
            let ended = Duration::from_millis(self.ended_ms.load(Ordering::Relaxed)).max(from);
            let quiet = self.opened.elapsed().saturating_sub(ended);
            match self.active.load(Ordering::Relaxed) {
                0 if quiet >= long => return,
                0 => sleep(long - quiet).await,
                _ => sleep(long).await,
            }
        }
    }

    /// Tells the connection to end when what is under way is answered.
    pub(super) fn close(&self) {
        self.told.notify_one();
    }

    /// Tells the connection to end at once.
    fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    /// Waits until the connection is told to end. Returns whether at once.
    pub(super) async fn told(&self) -> bool {
        self.told.notified().await;
        self.is_cut.load(Ordering::Relaxed)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended_ms.store(now, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `body`, to be sent within `patience`. What its request holds is given back when the client has all but the last piece, or has
/// taken too long.
pub(super) fn send(body: Body, slot: Option<Arc<Slot>>, active: Active, patience: Duration) -> Body {
    let length = HttpBody::size_hint(&body).exact();
    if length.is_some_and(|bytes| bytes <= PIECE_BYTES as u64) {
        return body;
    }
    let (sent, mut is_sent) = oneshot::channel();
    let handed_at: Arc<Mutex<Option<Instant>>> = Arc::default();
    let (pulse, is_stream, waiting_since) = (Arc::clone(&active.0), length.is_none(), Arc::clone(&handed_at));
    tokio::spawn(async move {
        while timeout(patience, &mut is_sent).await.is_err() {
            let waiting_since = *waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_stream || waiting_since.is_some_and(|since| since.elapsed() >= patience) {
                return pulse.cut();
            }
        }
    });
    Body::new(Sending { body, rest: Bytes::new(), handed_at, _held: (slot, active, sent) })
}

/// A body in pieces, so that what is not taken by the client stays here and not in the buffers of the connection.
struct Sending {
    body: Body,
    rest: Bytes,
    /// When a piece was handed on, until the next is asked for.
    handed_at: Arc<Mutex<Option<Instant>>>,
    _held: (Option<Arc<Slot>>, Active, oneshot::Sender<()>),
}

impl Sending {
    fn note(&self, handed_at: Option<Instant>) {
        *self.handed_at.lock().unwrap_or_else(PoisonError::into_inner) = handed_at;
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.note(None);
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.note(Some(Instant::now()));
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (HttpBody::size_hint(&self.body), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const LARGE: usize = 10 * PIECE_BYTES + 1;

    async fn is_cut(pulse: &Pulse, within: Duration) -> bool {
        timeout(within, pulse.told()).await == Ok(true)
    }

    #[tokio::test]
    async fn a_large_answer_goes_in_pieces_and_is_under_way_until_the_last() {
        let pulse = Arc::new(Pulse::new());
        let mut body = send(Body::from(vec![7; LARGE]), None, pulse.begin(), Duration::from_millis(50));
        assert_eq!(HttpBody::size_hint(&body).exact(), Some(LARGE as u64));
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES && pulse.active.load(Ordering::Relaxed) == 1);
            received += piece.len();
        }
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!((received, pulse.active.load(Ordering::Relaxed)), (LARGE, 0));
        assert!(!is_cut(&pulse, Duration::from_millis(200)).await, "it was sent in time");
    }

    #[tokio::test]
    async fn who_does_not_take_a_large_answer_is_cut_off() {
        let pulse = Arc::new(Pulse::new());
        let mut body = send(Body::from(vec![7; LARGE]), None, pulse.begin(), Duration::from_millis(50));
        assert!(body.frame().await.is_some());
        assert!(is_cut(&pulse, Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_stream_goes_on_as_long_as_it_likes() {
        let pulse = Arc::new(Pulse::new());
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let body = send(Body::from_stream(endless), None, pulse.begin(), Duration::from_millis(50));
        assert!(!is_cut(&pulse, Duration::from_millis(200)).await);
        assert_eq!(pulse.active.load(Ordering::Relaxed), 1, "and its connection is not at rest");
        drop(body);
        assert_eq!(pulse.active.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_does_not_take_a_piece_of_a_stream_is_cut_off() {
        let pulse = Arc::new(Pulse::new());
        let pieces = futures_util::stream::iter([7, 8].map(|byte| Ok::<_, std::io::Error>(Bytes::from(vec![byte]))));
        let mut body = send(Body::from_stream(pieces), None, pulse.begin(), Duration::from_millis(50));
        assert!(body.frame().await.is_some());
        assert!(is_cut(&pulse, Duration::from_secs(10)).await);
    }
}
