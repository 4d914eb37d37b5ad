//! Clients of AWS's services, over one HTTP client: one pool of connections, one set of trusted roots.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::settings::Aws;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for one answer. AWS answers in milliseconds; one that has not come by then does not come.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest a call may take with all its repetitions: well below the time-out of a function.
const CALL_TIMEOUT: Duration = Duration::from_secs(12);

/// The HTTP client that all clients share.
pub fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// What the clients of all services are made with: credentials and region of the function, and nothing that is looked for
/// in files or asked of other servers.
pub fn sdk_config(aws: &Aws, http: SharedHttpClient) -> SdkConfig {
    let Aws { region, endpoint_url, access_key_id, secret_access_key, session_token } = aws.clone();
    let credentials = Credentials::new(access_key_id, secret_access_key, session_token, None, "environment");
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .timeout_config(timeouts.build());
    config.set_endpoint_url(endpoint_url);
    config.build()
}
