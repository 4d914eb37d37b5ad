//! What a failed request means, and whether to send it again.
//!
//! The codes are those of the API reference of DynamoDB, "Error handling" and `TransactionCanceledException`.

use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use cartwright::app::Ids;
use cartwright::error::{Error, Kind};

/// How often a request is sent before its failure is the caller's. With the pauses below that is about five seconds, plus what
/// the requests take.
const MAX_ATTEMPTS: u32 = 10;
/// Longest first pause; twice as long after each further attempt.
const FIRST_PAUSE_MS: u64 = 20;
/// Longest pause.
const MAX_PAUSE_MS: u64 = 1_000;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for an answer. DynamoDB answers within milliseconds; a transaction of a hundred items takes a little longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings for a client whose retries are decided here.
pub fn settings() -> (RetryConfig, TimeoutConfig) {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
    (RetryConfig::disabled(), timeouts.build())
}

/// Why a request failed, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// What a write expected does not hold; of a transaction, the places of all such items.
    Condition(Vec<usize>),
    /// It was not carried out now, and may be later.
    Throttled(String),
    /// Nobody knows whether it was carried out.
    Unknown(String),
    /// It can never be carried out as it is.
    Refused(String),
    /// It is not allowed, or the table is missing, or something else is set up wrong.
    Broken(String),
}

impl Failure {
    /// A failure that may pass.
    pub fn throttled(why: &str) -> Failure {
        Failure::Throttled(why.to_owned())
    }

    /// What an error of the SDK means; the reasons of a cancelled transaction are read elsewhere.
    pub fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Failure {
        match error {
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or("an unknown error");
                Failure::of_code(code, answer.err().message().unwrap_or_default())
            }
            SdkError::ConstructionFailure(_) => Failure::Broken("the request could not be made".to_owned()),
            SdkError::TimeoutError(_) => Failure::Unknown("no answer in time".to_owned()),
            SdkError::DispatchFailure(failure) => Failure::Unknown(match failure.as_connector_error() {
                Some(error) => format!("the connection failed: {error}"),
                None => "the connection failed".to_owned(),
            }),
            _ => Failure::Unknown("the answer is unreadable".to_owned()),
        }
    }

    pub(super) fn of_code(code: &str, message: &str) -> Failure {
        let why = format!("{code}: {message}");
        match code {
            "ConditionalCheckFailedException" => Failure::Condition(vec![0]),
            "ThrottlingException"
            | "ThrottlingError"
            | "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "TransactionConflictException"
            | "TransactionConflict"
            | "ReplicatedWriteConflictException" => Failure::Throttled(why),
            // With the client token of the first request, the next one tells what became of it.
            "TransactionInProgressException" | "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => {
                Failure::Unknown(why)
            }
            "ValidationException" | "ValidationError" | "ItemCollectionSizeLimitExceeded" => Failure::Refused(why),
            _ => Failure::Broken(why),
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Failure::Throttled(_) | Failure::Unknown(_))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Throttled(why) | Failure::Unknown(why) => {
                let message = "The store does not answer now; try again in a moment.";
                Error::new(Kind::Unavailable, "storage_unavailable", message).because(why)
            }
            Failure::Condition(places) => Error::internal(format!("a condition failed that nobody made: {places:?}")),
            Failure::Refused(why) | Failure::Broken(why) => Error::internal(why),
        }
    }
}

/// The attempts at one request.
pub struct Retries<'a> {
    ids: &'a dyn Ids,
    failed: u32,
    in_doubt: bool,
}

impl<'a> Retries<'a> {
    /// None made yet.
    pub fn new(ids: &'a dyn Ids) -> Self {
        Retries { ids, failed: 0, in_doubt: false }
    }

    /// Whether an attempt failed of which nobody knows whether it was carried out.
    pub fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Sends a request until it succeeds, fails for good, or has been sent often enough.
    ///
    /// # Errors
    /// The last failure.
    pub async fn run<T, E, R, F>(&mut self, send: impl Fn() -> F) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, R>>>,
    {
        self.run_reading(send, |_| None).await
    }

    /// As [`Retries::run`], for a request whose errors tell more than their code: `read` may say what one means.
    ///
    /// # Errors
    /// The last failure.
    pub async fn run_reading<T, E, R, F>(
        &mut self,
        send: impl Fn() -> F,
        read: impl Fn(&SdkError<E, R>) -> Option<Failure>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, R>>>,
    {
        loop {
            let failure = match send().await {
                Ok(answer) => return Ok(answer),
                Err(error) => read(&error).unwrap_or_else(|| Failure::of(&error)),
            };
            self.in_doubt |= matches!(failure, Failure::Unknown(_));
            self.pause(failure).await?;
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `failure`, when it cannot pass or there were enough attempts.
    pub async fn pause(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failed += 1;
        if !failure.may_pass() || self.failed >= MAX_ATTEMPTS {
            return Err(failure);
        }
        tracing::debug!(?failure, attempt = self.failed, "a request to DynamoDB is repeated");
        let ceiling_ms = MAX_PAUSE_MS.min(FIRST_PAUSE_MS << self.failed.min(10));
        tokio::time::sleep(Duration::from_millis(self.ids.random() % ceiling_ms)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_sent_again() {
        for code in
            ["ThrottlingException", "TransactionConflict", "InternalServerError", "TransactionInProgressException"]
        {
            assert!(Failure::of_code(code, "").may_pass(), "{code}");
        }
        for code in [
            "ConditionalCheckFailedException",
            "ValidationException",
            "AccessDeniedException",
            "ResourceNotFoundException",
        ] {
            assert!(!Failure::of_code(code, "").may_pass(), "{code}");
        }
    }
}
