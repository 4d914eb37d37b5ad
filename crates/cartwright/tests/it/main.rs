//! All tests of the application at its boundaries, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod access;
mod basket;
mod catalog;
mod checkout;
mod customers;
mod delivery;
mod email;
mod erasure;
mod faults;
mod feed;
mod fuzz;
mod golden;
mod inbox;
mod keeping;
mod metrics;
mod notifications;
mod notifier;
mod operations;
mod ordering;
mod pages;
mod process;
mod purchases;
mod put_events;
mod queues;
mod rest;
mod shop;
mod simulation;
mod store_sqlite;
mod tidy;
mod traces;
mod transfer;
mod watchers;
mod webhooks;
mod world;
