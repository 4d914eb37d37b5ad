//! The functions of Cartwright on AWS, over the application's own store and a fake of the services around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod fake_aws;
mod shop;

mod dead_letters;
mod gateway;
mod process;
mod queues;
mod relay;
mod settings;
mod worker;
