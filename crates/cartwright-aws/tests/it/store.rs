//! The contract of the store port, on DynamoDB.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cartwright::store::conformance;

use crate::emulator::DynamoDb;
use crate::faults::faulty_client;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_of_the_port() {
    let database = DynamoDb::start().await;
    let store = Arc::new(database.store());
    conformance::run(store.clone(), "first").await;
    conformance::run(store, "second").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract_while_requests_are_throttled_lost_and_refused() {
    let database = DynamoDb::start().await;
    for seed in 1..=2 {
        let (http, tally) = faulty_client(seed);
        conformance::run(Arc::new(database.store_over(http)), &format!("faults {seed}")).await;
        let (requests, faults) = (tally.requests.load(Ordering::Relaxed), tally.faults.load(Ordering::Relaxed));
        assert!(faults > requests / 5, "{faults} faults in {requests} requests");
    }
}
