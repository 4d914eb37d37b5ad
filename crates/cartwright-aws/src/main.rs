//! The one binary that every Lambda function runs.

fn main() {}
