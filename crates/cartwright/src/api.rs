//! Every route, one line each: `/v1` first, then the classic paths.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use utoipa::openapi::OpenApi;

use crate::access::Requires;
use crate::app::App;
use crate::error::{Error, Result};
use crate::pages::{self, Page};
use crate::rest::{Door, Routes, put_events};
use crate::{basket, catalog, customers, feed, notifications, operations, ordering, probes, purchases};

#[rustfmt::skip]
fn routes() -> Routes {
    use Requires::{Admin, Anyone, Customer, Staff};
    use crate::access::http as access;
    use basket::http as baskets;
    use catalog::http as products;
    use customers::http as people;
    use notifications::http as notes;
    use notifications::{watchers::http as watchers, webhooks::http as webhooks};
    use ordering::http as orders;
    use crate::queues::http as queues;

    Routes::default()
        .section("Products")
        .get   ("/v1/products",                        Anyone,   products::list_products,  "List products, oldest first")
        .post  ("/v1/products",                        Staff,    products::create_product, "Create a product")
        .get   ("/v1/products/{id}",                   Anyone,   products::get_product,    "Get a product and its stock")
        .patch ("/v1/products/{id}",                   Staff,    products::patch_product,  "Change a product")
        .delete("/v1/products/{id}",                   Staff,    products::delete_product, "Remove a product")
        .get   ("/v1/products/{id}/stock",             Anyone,   products::get_stock,      "Get the stock of a product")
        .put   ("/v1/products/{id}/stock",             Staff,    products::count_stock,    "Set the stock after counting; starts tracking")
        .get   ("/v1/products/{id}/stock/movements",   Staff,    products::list_movements, "List the stock ledger, newest first")
        .post  ("/v1/products/{id}/stock/movements",   Staff,    products::move_stock,     "Book goods received or written off")
        .get   ("/v1/products/{id}/stock/movements/{movementId}", Staff,    products::get_movement, "Get a line of the stock ledger")
        .get   ("/v1/products/{id}/watchers",          Staff,    watchers::list_watchers,  "List those who wait for a product")
        .get   ("/v1/products/{id}/watchers/{username}", Customer, watchers::get_watch,    "Get whether a customer waits for a product")
        .put   ("/v1/products/{id}/watchers/{username}", Customer, watchers::watch_product, "Tell a customer once when a product is back in stock")
        .delete("/v1/products/{id}/watchers/{username}", Customer, watchers::unwatch_product, "Do not tell them")
        .get   ("/v1/categories",                      Anyone,   products::list_categories, "List the categories that have products, by name")
        .section("Baskets")
        .get   ("/v1/baskets",                         Staff,    baskets::list_baskets,    "List baskets, by user name")
        .get   ("/v1/baskets/{user}",                  Customer, baskets::get_basket,      "Get a basket")
        .put   ("/v1/baskets/{user}",                  Customer, baskets::replace_basket,  "Replace a basket")
        .delete("/v1/baskets/{user}",                  Customer, baskets::delete_basket,   "Delete a basket")
        .post  ("/v1/baskets/{user}/items",            Customer, baskets::add_line,        "Add to a basket")
        .put   ("/v1/baskets/{user}/items/{productId}", Customer, baskets::set_line,       "Set the quantity of a line")
        .delete("/v1/baskets/{user}/items/{productId}", Customer, baskets::remove_line,    "Remove a line")
        .post  ("/v1/baskets/{user}/checkout",         Customer, baskets::checkout,        "Check out: close the basket, place the order")
        .section("Orders")
        .get   ("/v1/orders",                          Staff,    orders::list_orders,      "List orders, newest first")
        .post  ("/v1/orders",                          Staff,    orders::place_order,      "Place an order that was agreed elsewhere")
        .get   ("/v1/orders/{id}",                     Customer, orders::get_order,        "Get an order")
        .get   ("/v1/orders/{id}/timeline",            Customer, orders::list_timeline,    "List what happened to an order, oldest first")
        .post  ("/v1/orders/{id}/transitions",         Customer, orders::transition,       "Move an order to another status")
        .section("Customers")
        .get   ("/v1/customers",                       Staff,    people::list_customers,   "List customers, by user name")
        .post  ("/v1/customers",                       Customer, people::add_customer,     "Add a customer")
        .get   ("/v1/customers/{username}",            Customer, people::get_customer,     "Get a customer")
        .patch ("/v1/customers/{username}",            Customer, people::patch_customer,   "Change name or e-mail address")
        .delete("/v1/customers/{username}",            Customer, people::erase_customer,   "Erase a customer; orders stay without personal data")
        .get   ("/v1/customers/{username}/addresses",  Customer, people::list_addresses,   "Get the address book")
        .post  ("/v1/customers/{username}/addresses",  Customer, people::add_address,      "Add an address")
        .get   ("/v1/customers/{username}/addresses/{addressId}", Customer, people::get_address, "Get an address")
        .delete("/v1/customers/{username}/addresses/{addressId}", Customer, people::remove_address, "Remove an address")
        .get   ("/v1/customers/{username}/orders",     Customer, orders::list_orders_of_customer, "List the orders of a customer, newest first")
        .get   ("/v1/customers/{username}/export",     Customer, people::export_customer,  "Get everything that is kept about a customer")
        .get   ("/v1/customers/{username}/inbox",      Customer, notes::list_inbox,        "List what a customer was told, newest first")
        .put   ("/v1/customers/{username}/inbox/read", Customer, notes::mark_read,         "Mark what a customer was told as read")
        .section("Notifications")
        .get   ("/v1/inbox",                           Staff,    notes::list_operators_inbox, "List what operators were told, newest first")
        .put   ("/v1/inbox/read",                      Staff,    notes::mark_operators_read, "Mark what operators were told as read")
        .get   ("/v1/subscriptions",                   Staff,    webhooks::list_subscriptions, "List webhooks, oldest first")
        .post  ("/v1/subscriptions",                   Staff,    webhooks::subscribe,      "Add a webhook")
        .get   ("/v1/subscriptions/{id}",              Staff,    webhooks::get_subscription, "Get a webhook")
        .patch ("/v1/subscriptions/{id}",              Staff,    webhooks::patch_subscription, "Change a webhook, or make it active again")
        .delete("/v1/subscriptions/{id}",              Staff,    webhooks::unsubscribe,    "Remove a webhook")
        .post  ("/v1/subscriptions/{id}/secret",       Staff,    webhooks::rotate_secret,  "Give a webhook a new secret; the one before counts for another day")
        .post  ("/v1/subscriptions/{id}/test",         Staff,    webhooks::test_subscription, "Send a webhook a test")
        .get   ("/v1/deliveries",                      Staff,    webhooks::list_deliveries, "List deliveries to webhooks, newest first")
        .get   ("/v1/deliveries/{id}",                 Staff,    webhooks::get_delivery,   "Get a delivery and its attempts")
        .post  ("/v1/deliveries/{id}/redeliver",       Staff,    webhooks::redeliver,      "Deliver again, with the same id")
        .section("Queues")
        .get   ("/v1/queues",                          Staff,    queues::list_queues,      "List the queues and what they hold")
        .get   ("/v1/queues/{name}",                   Staff,    queues::get_queue,        "Get a queue and what it holds")
        .get   ("/v1/queues/{name}/dead-letters",      Staff,    queues::list_dead_letters, "List dead letters, newest or oldest first")
        .get   ("/v1/queues/{name}/dead-letters/{id}", Staff,    queues::get_dead_letter,  "Get a dead letter")
        .post  ("/v1/queues/{name}/dead-letters/redrive", Staff,    queues::redrive_dead_letters, "Put dead letters back into their queue")
        .post  ("/v1/queues/{name}/dead-letters/discard", Staff,    queues::discard_dead_letters, "Remove dead letters for good")
        .get   ("/v1/events",                          Staff,    queues::list_events,      "List the events, who emits them, and the queues they go to")
        .section("Live feed")
        .get   ("/v1/feed",                            Customer, feed::http::follow,       "Follow an order, a customer, the operators, a queue or purchases")
        .section("Operations")
        .post  ("/v1/operations",                      Staff,    operations::http::operate, "Do what is named, with an item of a table")
        .section("Purchases")
        .get   ("/v1/purchases",                       Staff,    purchases::http::list_purchases,      "List stored purchases, newest first")
        .post  ("/v1/purchases",                       Staff,    purchases::http::record_purchase,     "Record a purchase that was made elsewhere")
        .post  ("/v1/purchases/batch",                 Staff,    purchases::http::record_purchases,    "Record up to 100 purchases, each on its own")
        .get   ("/v1/purchases/summary",               Staff,    purchases::http::summarise_purchases, "Sum up purchases by product, category or day")
        .get   ("/v1/purchases/{id}",                  Staff,    purchases::http::get_purchase,        "Get a purchase and how far it has come")
        .put   ("/v1/purchases/{id}",                  Staff,    purchases::http::replace_purchase,    "Replace a purchase")
        .delete("/v1/purchases/{id}",                  Staff,    purchases::http::delete_purchase,     "Delete a purchase")
        .section("Access")
        .get   ("/v1/me",                              Anyone,   access::get_me,           "Tell who makes the request")
        .get   ("/v1/api-keys",                        Admin,    access::list_keys,        "List API keys, oldest first")
        .post  ("/v1/api-keys",                        Admin,    access::create_key,       "Create an API key; its secret is told once")
        .get   ("/v1/api-keys/{keyId}",                Admin,    access::get_key,          "Get an API key, without its secret")
        .delete("/v1/api-keys/{keyId}",                Admin,    access::revoke_key,       "Revoke an API key, at once")
        .get   ("/v1/audit",                           Admin,    access::list_audit,       "List what staff and admins did, newest first")
        .section("Classic shop")
        .get   ("/product",                            Anyone,   catalog::classic::list_products,        "List products")
        .post  ("/product",                            Staff,    catalog::classic::create_product,       "Create a product")
        .get   ("/product/{id}",                       Anyone,   catalog::classic::get_product,          "Get a product")
        .put   ("/product/{id}",                       Staff,    catalog::classic::update_product,       "Change the fields sent")
        .delete("/product/{id}",                       Staff,    catalog::classic::delete_product,       "Remove a product")
        .get   ("/basket",                             Staff,    basket::classic::list_baskets,          "List baskets")
        .post  ("/basket",                             Customer, basket::classic::replace_basket,        "Replace the basket of a user")
        .post  ("/basket/checkout",                    Customer, basket::classic::checkout,              "Check out")
        .get   ("/basket/checkout",                    Customer, basket::classic::of_user_checkout::get_basket, "Get the basket of a user called checkout")
        .delete("/basket/checkout",                    Customer, basket::classic::of_user_checkout::delete_basket, "Delete the basket of a user called checkout")
        .get   ("/basket/{userName}",                  Customer, basket::classic::get_basket,            "Get a basket")
        .delete("/basket/{userName}",                  Customer, basket::classic::delete_basket,         "Delete a basket")
        .get   ("/order",                              Staff,    ordering::classic::list_orders,         "List orders, newest first")
        .get   ("/order/{userName}",                   Customer, ordering::classic::list_orders_of_user, "List the orders of a user")
        .section("Classic operations")
        .post  ("/order",                              Staff,    operations::classic::order,              "Do what is named, with an item of a table")
        .post  ("/DynamoDBManager",                    Staff,    operations::classic::dynamo_db_manager,              "Do what is named, with an item of a table")
        .section("Classic users and orders")
        .post  ("/add_user",                           Customer, customers::classic::add_user,           "Add a user")
        .get   ("/users/{username}",                   Customer, customers::classic::get_user,           "Get a user")
        .delete("/users/{username}",                   Customer, customers::classic::delete_user,        "Delete a user")
        .post  ("/edit-address",                       Customer, customers::classic::edit_address,       "Change the address of a user")
        .get   ("/orders",                             Customer, ordering::classic::list_profile_and_orders, "Get a user and their orders, newest first")
        .post  ("/orders",                             Staff,    ordering::classic::place_order,         "Place an order")
        .get   ("/orders/{order_id}",                  Customer, ordering::classic::get_order,           "Get an order")
        .put   ("/orders/{order_id}",                  Customer, ordering::classic::update_order,        "Change the status of an order")
        .section("Classic purchases")
        .get   ("/product-purchase",                   Staff,    purchases::classic::list_purchases,     "List purchases, newest first")
        .post  ("/product-purchase",                   Staff,    purchases::classic::record_purchase,    "Record a purchase")
        .get   ("/product-purchase/{id}",              Staff,    purchases::classic::get_purchase,       "Get a purchase")
        .put   ("/product-purchase/{id}",              Staff,    purchases::classic::replace_purchase,   "Replace a purchase")
        .delete("/product-purchase/{id}",              Staff,    purchases::classic::delete_purchase,    "Delete a purchase")
}

/// What stands beside the API. The description and the page that shows it are the same for every shop, and in this repository;
/// whether the server is ready tells nothing of it; the pages show what the API lets them. How much is sold is no one's business: metrics are for staff.
fn beside(routes: Routes, document: impl Fn() -> OpenApi + Send + Sync + 'static) -> Routes {
    use Requires::{Anyone, Staff};
    // Made when it is first asked for: most Lambda functions never are.
    let document = Arc::new(LazyLock::new(move || document().to_json().expect("a description has a JSON form")));
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json").use_base_layout());
    let openapi = async move || ([(CONTENT_TYPE, "application/json")], document.to_string());
    let asyncapi = async || ([(CONTENT_TYPE, "application/json")], feed::asyncapi());
    let docs = async || ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("docs.html"));
    routes
        .beside(Method::GET, "/health", Anyone, probes::health)
        .beside(Method::GET, "/health/live", Anyone, probes::live)
        .beside(Method::GET, "/health/ready", Anyone, probes::ready)
        .beside(Method::GET, "/metrics", Staff, probes::metrics)
        .beside(Method::GET, "/openapi.json", Anyone, openapi)
        .beside(Method::GET, "/asyncapi.json", Anyone, asyncapi)
        // Who opens a socket may say on it who they are.
        .beside(Method::GET, "/ws", Anyone, feed::accept)
        .beside(Method::GET, "/", Anyone, async |headers: HeaderMap| pages::page(Page::Shop, &headers))
        .beside(Method::GET, "/desk", Anyone, async |headers: HeaderMap| pages::page(Page::Desk, &headers))
        .beside(Method::GET, pages::FILE_PATH, Anyone, async |Path(path): Path<_>, headers: HeaderMap| {
            pages::file(path, &headers)
        })
        .beside(Method::POST, "/", Staff, put_events)
        .beside(Method::GET, "/docs", Anyone, docs)
        .beside(Method::GET, "/docs/{*file}", Anyone, async move |Path(file): Path<String>| docs_file(&file, config))
}

/// Method and path of every route of the API, in the order of the list above.
pub fn table() -> Vec<(Method, &'static str)> {
    routes().table()
}

/// Method, path and requirement of every route there is, those beside the API last.
pub fn requirements() -> Vec<(&'static str, &'static str, Requires)> {
    let routes = routes();
    let document = routes.document();
    beside(routes, document).requirements()
}

/// The API behind its door, with its description and the page that shows it.
pub fn door(app: &App) -> Door {
    let routes = routes();
    let document = routes.document();
    let routes = beside(routes, document);
    let patterns: Vec<&'static str> = routes.patterns();
    Door::new(routes.build().with_state(app.clone()), app).watching(app, patterns)
}

/// What those need who watch the process, and nothing else: for an address that only they reach.
pub fn metrics_door(app: &App) -> Door {
    let routes = Routes::default()
        .beside(Method::GET, "/health", Requires::Anyone, probes::health)
        .beside(Method::GET, "/health/live", Requires::Anyone, probes::live)
        .beside(Method::GET, "/health/ready", Requires::Anyone, probes::ready)
        .beside(Method::GET, "/metrics", Requires::Anyone, probes::metrics);
    let patterns: Vec<&'static str> = routes.patterns();
    Door::new(routes.build().with_state(app.clone()), app).watching(app, patterns)
}

/// A file of the docs page, from inside the binary.
fn docs_file(file: &str, config: Arc<utoipa_swagger_ui::Config<'static>>) -> Result<Response> {
    match utoipa_swagger_ui::serve(file, config).map_err(Error::internal)? {
        Some(found) => {
            let mut response = ([(CONTENT_TYPE, found.content_type)], found.bytes.into_owned()).into_response();
            if found.gzpipped {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Ok(response)
        }
        None => Err(Error::not_found("route_not_found", "such page")),
    }
}
