//! A place in a trace, and its text form: W3C Trace Context, level 1.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of the header, and of the member of an envelope, that carries it.
pub const TRACEPARENT: &str = "traceparent";

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A span, as those see it that come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { trace_id, span_id, is_sampled } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*is_sampled))
    }
}

/// Reads a `traceparent`. One that is none, or of a version that cannot be read, begins no trace and continues none.
impl FromStr for Context {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let version = hex(parts.next(), 2)?;
        let (trace_id, span_id, flags) = (hex(parts.next(), 32)?, hex(parts.next(), 16)?, hex(parts.next(), 2)?);
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace_id == 0 || span_id == 0 {
            return Err(());
        }
        let is_sampled = flags & u128::from(SAMPLED) != 0;
        Ok(Context { trace_id, span_id: u64::try_from(span_id).map_err(drop)?, is_sampled })
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A context, or none where something else stands: no event is worth less for what is wrong with its trace.
///
/// # Errors
/// Those of text that is no JSON.
pub fn read_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Context>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

/// The number that is written in so many lower-case hexadecimal digits.
fn hex(text: Option<&str>, digits: usize) -> Result<u128, ()> {
    let is_hex =
        |text: &&str| text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(text.filter(is_hex).ok_or(())?, 16).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: Context = text.parse().unwrap();
        assert_eq!((context.to_string().as_str(), context.is_sampled), (text, true));
        let not_sampled: Context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse().unwrap();
        assert!(!not_sampled.is_sampled);
        assert!("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is-new".parse::<Context>().is_ok());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<Context>(), Err(()), "{bad}");
        }
    }
}
