//! Access: who may do what on every route there is, what a credential is good for, and what is written down of it.

mod audit;
mod browsers;
mod issuer;
mod keys;
mod others;
mod routes;
mod tokens;
