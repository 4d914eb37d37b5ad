//! Cartwright on AWS: the adapters of the application's ports, and what its Lambda functions do.
//!
//! The modules in reading order. `main.rs` is the one binary that every function runs; [`settings`] says which function it
//! is.

pub mod settings;

pub mod clients;
pub mod emf;
pub mod logs;
pub mod open;

pub mod dynamodb;

pub mod gateway;

pub mod message;
pub mod relay;
pub mod sns;
pub mod sqs;
pub mod websocket;
pub mod worker;

pub mod dead_letters;
pub mod letters;
pub mod queues;

pub mod moving;
