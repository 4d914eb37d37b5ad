//! A DynamoDB on this machine, for one test, and a store over it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_http_client::Builder;
use cartwright::store::Table;
use cartwright::system::{SystemClock, SystemIds};
use cartwright_aws::dynamodb::{DynamoStore, retry};

/// How long a busy machine may take to start it.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The emulator. Dropping it ends it, and everything in it is gone.
pub struct DynamoDb {
    process: Child,
    address: SocketAddr,
}

impl DynamoDb {
    /// Starts one, with the tables of the shop.
    pub async fn start() -> DynamoDb {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/dynoxide");
        assert!(program.is_file(), "no {}: `cargo xtask test` installs it", program.display());
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let process = Command::new(program)
            .args(["serve", "--log", "quiet", "--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let database = DynamoDb { process, address };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the emulator does not answer at {address}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        database.create_tables().await;
        database
    }

    async fn create_tables(&self) {
        let (store, client) = (self.store(), self.client(Builder::new().build_http()));
        let part = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
        let attribute = |name: &str| {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            attribute.attribute_type(ScalarAttributeType::S).build().unwrap()
        };
        for table in Table::ALL {
            let request =
                client.create_table().table_name(store.table_name(table)).billing_mode(BillingMode::PayPerRequest);
            let request = request.key_schema(part("PK", KeyType::Hash)).key_schema(part("SK", KeyType::Range));
            let request = request.attribute_definitions(attribute("PK")).attribute_definitions(attribute("SK"));
            request.send().await.unwrap();
        }
    }

    /// A client of it, over this HTTP client.
    pub fn client(&self, http: SharedHttpClient) -> Client {
        let (retries, timeouts) = retry::settings();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{}", self.address))
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(retries)
            .timeout_config(timeouts)
            .http_client(http);
        Client::from_conf(config.build())
    }

    /// A store over it.
    pub fn store(&self) -> DynamoStore {
        self.store_over(Builder::new().build_http())
    }

    /// A store over it, over this HTTP client.
    pub fn store_over(&self, http: SharedHttpClient) -> DynamoStore {
        DynamoStore::new(self.client(http), "test-".to_owned(), Arc::new(SystemIds), Arc::new(SystemClock))
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
