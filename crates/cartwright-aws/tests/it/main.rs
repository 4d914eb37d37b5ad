//! Tests of the AWS home: the store on an emulated DynamoDB, with and without faults.

mod emulator;
mod faults;
mod store;
