//! Traces of a function: its spans to X-Ray, and X-Ray's place in a trace to and from W3C Trace Context.
//!
//! Lambda runs X-Ray's daemon beside each function; a span is one datagram to it, which nobody waits for, and the daemon sends
//! it on. An event carries its place in the trace with it, so that the consumer's step is in the trace of the request,
//! although Lambda begins a trace of its own for each function that a queue calls.

use std::net::UdpSocket;

use cartwright::metrics::{Unit, shown};
use cartwright::trace::{Attribute, Context, Finished, Role, Sink};
use serde_json::{Map, Value, json};

/// What a datagram to the daemon begins with.
const HEAD: &str = "{\"format\":\"json\",\"version\":1}\n";
/// Longest name of a segment.
const MAX_NAME_CHARS: usize = 200;

/// Sends spans to X-Ray's daemon.
pub struct XRay(UdpSocket);

impl XRay {
    /// To the daemon at `address`, such as `169.254.79.129:2000`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(address: &str) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(XRay(socket))
    }
}

impl Sink for XRay {
    fn take(&self, span: Finished) {
        if let Err(error) = self.0.send(format!("{HEAD}{}", segment(&span)).as_bytes()) {
            tracing::debug!(%error, "a span could not be handed to X-Ray");
        }
    }
}

/// The place in a trace that a header of X-Ray names (`Root=…;Parent=…;Sampled=1`), if it names one.
pub fn context(header: &str) -> Option<Context> {
    let part = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let span_id = u64::from_str_radix(part("Parent")?, 16).ok().filter(|id| *id != 0)?;
    Some(Context { trace_id: trace_id(header)?, span_id, is_sampled: part("Sampled") == Some("1") })
}

/// The trace that a header of X-Ray names.
pub fn trace_id(header: &str) -> Option<u128> {
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let (seconds, rest) = root.split_once('-').filter(|(seconds, rest)| seconds.len() == 8 && rest.len() == 24)?;
    u128::from_str_radix(&format!("{seconds}{rest}"), 16).ok().filter(|id| *id != 0)
}

/// A place in a trace as a header of X-Ray.
pub fn header(context: Context) -> String {
    let Context { trace_id, span_id, is_sampled } = context;
    format!("Root={};Parent={span_id:016x};Sampled={}", root(trace_id), u8::from(is_sampled))
}

fn root(trace_id: u128) -> String {
    let hex = format!("{trace_id:032x}");
    format!("1-{}-{}", &hex[..8], &hex[8..])
}

/// A span as X-Ray takes it: a part of what it came of.
fn segment(span: &Finished) -> Value {
    // X-Ray takes no braces.
    let name: String = span
        .name
        .chars()
        .filter(|char| char.is_ascii_alphanumeric() || " _.:/%&#=+\\-@".contains(*char))
        .take(MAX_NAME_CHARS)
        .collect();
    let time = |at: jiff::Timestamp| -> Value {
        let micros = u64::try_from(at.as_microsecond()).unwrap_or(0);
        serde_json::from_str(&shown(Unit::Seconds, micros)).unwrap_or_default()
    };
    let annotations: Map<String, Value> = span
        .attributes
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Attribute::Text(text) => json!(text),
                Attribute::Number(number) => json!(number),
            };
            (name.replace('.', "_"), value)
        })
        .collect();
    let mut segment = json!({
        "name": name,
        "id": format!("{:016x}", span.context.span_id),
        "trace_id": root(span.context.trace_id),
        "start_time": time(span.began),
        "end_time": time(span.ended),
        "annotations": annotations,
    });
    if let Some(parent) = span.parent {
        segment["parent_id"] = format!("{parent:016x}").into();
        segment["type"] = "subsegment".into();
    }
    if span.role == Role::Client {
        segment["namespace"] = "remote".into();
    }
    if let Some(error) = &span.error {
        segment["fault"] = true.into();
        segment["annotations"]["error"] = error.as_str().into();
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[test]
    fn a_header_of_x_ray_is_a_place_in_a_trace_and_back() {
        let place = context(HEADER).unwrap();
        assert_eq!(place.to_string(), "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        assert_eq!(header(place), HEADER);
        let extended = format!("{HEADER};Lineage=1:2:3");
        assert_eq!(context(&extended), Some(place));
        assert!(!context(&HEADER.replace("Sampled=1", "Sampled=0")).unwrap().is_sampled);
        for bad in
            ["", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1", "Root=2-x;Parent=1", "Root=1-é-é;Parent=1"]
        {
            assert_eq!(context(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_is_a_datagram_that_the_daemon_takes() {
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sink = XRay::new(&daemon.local_addr().unwrap().to_string()).unwrap();
        let place = context(HEADER).unwrap();
        sink.take(Finished {
            context: Context { span_id: 7, ..place },
            parent: Some(place.span_id),
            role: Role::Client,
            name: "GET /v1/products/{id}".into(),
            began: "2026-01-02T03:04:05.25Z".parse().unwrap(),
            ended: "2026-01-02T03:04:05.5Z".parse().unwrap(),
            attributes: vec![("http.response.status_code", Attribute::Number(503))],
            error: Some("503".into()),
        });
        let mut buffer = [0; 2048];
        let length = daemon.recv(&mut buffer).unwrap();
        let (head, segment) = std::str::from_utf8(&buffer[..length]).unwrap().split_once('\n').unwrap();
        assert_eq!(serde_json::from_str::<Value>(head).unwrap(), json!({"format": "json", "version": 1}));
        assert_eq!(
            serde_json::from_str::<Value>(segment).unwrap(),
            json!({
                "name": "GET /v1/products/id", "id": "0000000000000007", "parent_id": "53995c3f42cd8ad8",
                "trace_id": "1-5759e988-bd862e3fe1be46a994272793", "type": "subsegment", "namespace": "remote",
                "start_time": 1_767_323_045.25, "end_time": 1_767_323_045.5, "fault": true,
                "annotations": {"http_response_status_code": 503, "error": "503"},
            })
        );
    }
}
