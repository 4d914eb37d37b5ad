//! Tests of the AWS home: its functions over a store of the application and fakes of the services around it, its store on an
//! emulated DynamoDB, the template against the code, and what a checkout costs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod emulator;
mod fake_aws;
mod faults;
mod shop;

mod cost;
mod dead_letters;
mod gateway;
mod monitoring;
mod moving;
mod outbox;
mod process;
mod queues;
mod relay;
mod settings;
mod sns;
mod store;
mod template;
mod websocket;
mod worker;
