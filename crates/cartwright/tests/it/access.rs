//! Access: who may do what on every route there is, and what a credential is good for.

mod keys;
mod routes;
