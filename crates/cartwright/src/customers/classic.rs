//! The classic `/users` paths: the bodies of the design they come from, the same operations behind them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ops;
use super::{Customer, CustomerName, PostalAddress};
use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{IfMatch, Params, Post, Reply, Segment};
use crate::values::{Email, Username};

/// A new user.
#[derive(Deserialize, ToSchema)]
pub struct ClassicAddUser {
    email: Email,
    name: CustomerName,
    username: Username,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct ClassicMessage {
    message: String,
}

/// What was done, and to whom.
#[derive(Serialize, ToSchema)]
pub struct ClassicUserAnswer {
    message: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ClassicUser>,
}

/// A user as the classic paths show it: the item of the table.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClassicUser {
    #[serde(rename = "PK")]
    pk: String,
    #[serde(rename = "SK")]
    sk: String,
    username: Username,
    name: CustomerName,
    email: Email,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<PostalAddress>,
}

impl From<&Customer> for ClassicUser {
    fn from(customer: &Customer) -> Self {
        let key = format!("CUSTOMER#{}", customer.username.key());
        ClassicUser {
            pk: key.clone(),
            sk: key,
            username: customer.username.clone(),
            name: customer.name.clone(),
            email: customer.email.clone(),
            address: customer.addresses.first().map(|first| first.address.clone()),
        }
    }
}

/// Whose address, and which.
#[derive(Deserialize, IntoParams)]
pub struct EditAddressParams {
    /// Whose.
    username: String,
    /// The new address.
    new_address: String,
}

fn answer(message: &str, customer: Option<&Customer>) -> Reply<200, ClassicUserAnswer> {
    Reply::new(ClassicUserAnswer { message: message.to_owned(), success: true, data: customer.map(ClassicUser::from) })
}

pub(crate) async fn add_user(app: App, post: Post<ClassicAddUser>) -> Result<Reply<200, ClassicMessage>> {
    let ClassicAddUser { email, name, username } = post.body;
    app.principal().must_act_for(&username)?;
    let message = format!("User {username} with added successfully");
    ops::add_customer(&app, &post.once, username, email, name).await?;
    Ok(Reply::new(ClassicMessage { message }))
}

pub(crate) async fn get_user(app: App, Segment(user): Segment<Username>) -> Result<Reply<200, ClassicUserAnswer>> {
    let found = ops::get_customer(&app, &user).await?;
    Ok(answer("User fetched successfully", Some(&found.customer)))
}

pub(crate) async fn edit_address(
    app: App,
    Params(params): Params<EditAddressParams>,
) -> Result<Reply<200, ClassicUserAnswer>> {
    let user = Username::try_from(params.username).map_err(|why| Error::field("?username", why))?;
    app.principal().must_act_for(&user)?;
    let address = PostalAddress::try_from(params.new_address).map_err(|why| Error::field("?new_address", why))?;
    let changed = ops::set_main_address(&app, &user, address).await?;
    Ok(answer("Address updated successfully", Some(&changed.customer)))
}

pub(crate) async fn delete_user(
    app: App,
    Segment(user): Segment<Username>,
    if_match: IfMatch,
) -> Result<Reply<200, ClassicUserAnswer>> {
    ops::erase_customer(&app, &user, &if_match).await?;
    Ok(answer("User deleted successfully", None))
}
