//! Tests of the AWS home.
