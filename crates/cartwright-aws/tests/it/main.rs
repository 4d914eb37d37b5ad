//! Tests of the AWS home: the store on an emulated DynamoDB, with and without faults; the functions over the application's own
//! store and a fake of the services around them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cost;
mod emulator;
mod faults;
mod store;

mod fake_aws;
mod shop;

mod dead_letters;
mod gateway;
mod outbox;
mod process;
mod queues;
mod relay;
mod settings;
mod sns;
mod worker;
