//! A commerce back end: catalogue and stock, baskets and checkout, orders. One binary on one machine, or AWS.
//!
//! The modules in reading order. Start with [`api`] (every route) and [`events`] (every event and its consumers); a
//! service's folder has the same files in each: the pure model in `mod.rs`, operations in `ops.rs`, `/v1` handlers in
//! `http.rs`, the classic paths in `classic.rs`, consumed events in `events.rs`, keys in `store.rs`.

pub mod api;
pub mod attempt;
pub mod events;
pub mod queues;

pub mod app;
pub mod cards;
pub mod config;
pub mod error;
pub mod logs;
pub mod metrics;
pub mod outbound;
pub mod probes;
pub mod system;
pub mod telemetry;
pub mod trace;
pub mod values;

pub mod store;
pub mod transfer;

pub mod access;
pub mod basket;
pub mod catalog;
pub mod customers;
pub mod feed;
pub mod notifications;
pub mod operations;
pub mod ordering;
pub mod purchases;

pub mod local;
pub mod pages;
pub mod rest;
