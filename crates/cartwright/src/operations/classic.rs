//! The classic paths of the operations endpoint: the same bodies under two older names.

use super::http::{OperationAnswer, OperationRequest, operate};
use crate::app::App;
use crate::error::Result;
use crate::rest::{Post, Reply};

pub(crate) async fn order(app: App, post: Post<OperationRequest>) -> Result<Reply<200, OperationAnswer>> {
    operate(app, post).await
}

pub(crate) async fn dynamo_db_manager(app: App, post: Post<OperationRequest>) -> Result<Reply<200, OperationAnswer>> {
    operate(app, post).await
}
