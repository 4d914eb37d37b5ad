//! Tests of the AWS home: the store on an emulated DynamoDB, with and without faults; the template against the code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cost;
mod emulator;
mod faults;
mod store;
mod template;
