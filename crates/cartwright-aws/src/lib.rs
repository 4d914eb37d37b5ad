//! Cartwright on AWS: the adapters of the ports, and what each function does.

pub mod dynamodb;
