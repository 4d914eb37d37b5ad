//! Every route, one line each: `/v1` first, then the classic paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};

use crate::app::App;
use crate::error::{Error, Result};
use crate::rest::{Door, Routes};
use crate::{basket, catalog, ordering};

#[rustfmt::skip]
fn routes() -> Routes {
    use basket::http as baskets;
    use catalog::http as products;
    use ordering::http as orders;

    Routes::default()
        .section("Products")
        .get   ("/v1/products",                        products::list_products,  "List products, oldest first")
        .post  ("/v1/products",                        products::create_product, "Create a product")
        .get   ("/v1/products/{id}",                   products::get_product,    "Get a product and its stock")
        .patch ("/v1/products/{id}",                   products::patch_product,  "Change a product")
        .delete("/v1/products/{id}",                   products::delete_product, "Remove a product")
        .get   ("/v1/products/{id}/stock",             products::get_stock,      "Get the stock of a product")
        .put   ("/v1/products/{id}/stock",             products::count_stock,    "Set the stock after counting; starts tracking")
        .get   ("/v1/products/{id}/stock/movements",   products::list_movements, "List the stock ledger, newest first")
        .post  ("/v1/products/{id}/stock/movements",   products::move_stock,     "Book goods received or written off")
        .get   ("/v1/products/{id}/stock/movements/{movementId}", products::get_movement, "Get a line of the stock ledger")
        .section("Baskets")
        .get   ("/v1/baskets",                         baskets::list_baskets,    "List baskets, by user name")
        .get   ("/v1/baskets/{user}",                  baskets::get_basket,      "Get a basket")
        .put   ("/v1/baskets/{user}",                  baskets::replace_basket,  "Replace a basket")
        .delete("/v1/baskets/{user}",                  baskets::delete_basket,   "Delete a basket")
        .post  ("/v1/baskets/{user}/items",            baskets::add_line,        "Add to a basket")
        .put   ("/v1/baskets/{user}/items/{productId}", baskets::set_line,       "Set the quantity of a line")
        .delete("/v1/baskets/{user}/items/{productId}", baskets::remove_line,    "Remove a line")
        .post  ("/v1/baskets/{user}/checkout",         baskets::checkout,        "Check out: close the basket, place the order")
        .section("Orders")
        .get   ("/v1/orders",                          orders::list_orders,      "List orders, newest first")
        .get   ("/v1/orders/{id}",                     orders::get_order,        "Get an order")
        .post  ("/v1/orders/{id}/transitions",         orders::transition,       "Move an order to another status")
        .section("Classic shop")
        .get   ("/product",                            catalog::classic::list_products,        "List products")
        .post  ("/product",                            catalog::classic::create_product,       "Create a product")
        .get   ("/product/{id}",                       catalog::classic::get_product,          "Get a product")
        .put   ("/product/{id}",                       catalog::classic::update_product,       "Change the fields sent")
        .delete("/product/{id}",                       catalog::classic::delete_product,       "Remove a product")
        .get   ("/basket",                             basket::classic::list_baskets,          "List baskets")
        .post  ("/basket",                             basket::classic::replace_basket,        "Replace the basket of a user")
        .post  ("/basket/checkout",                    basket::classic::checkout,              "Check out")
        .get   ("/basket/checkout",                    basket::classic::of_user_checkout::get_basket, "Get the basket of a user called checkout")
        .delete("/basket/checkout",                    basket::classic::of_user_checkout::delete_basket, "Delete the basket of a user called checkout")
        .get   ("/basket/{userName}",                  basket::classic::get_basket,            "Get a basket")
        .delete("/basket/{userName}",                  basket::classic::delete_basket,         "Delete a basket")
        .get   ("/order",                              ordering::classic::list_orders,         "List orders, newest first")
        .get   ("/order/{userName}",                   ordering::classic::list_orders_of_user, "List the orders of a user")
}

/// Method and path of every route of the API, in the order of the list above.
pub fn table() -> Vec<(Method, &'static str)> {
    routes().table
}

/// The API behind its door, with its description and the page that shows it.
pub fn door(app: &App) -> Door {
    let (router, document) = routes().build();
    let document: Arc<str> = document.to_json().expect("a description has a JSON form").into();
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json").use_base_layout());
    let openapi = async move || ([(CONTENT_TYPE, "application/json")], document.to_string());
    let router: Router<App> = router
        .route("/health", get(health))
        .route("/openapi.json", get(openapi))
        .route("/", get(async || (StatusCode::FOUND, [(LOCATION, "/docs")])))
        .route("/docs", get(async || ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("docs.html"))))
        .route("/docs/{*file}", get(async move |Path(file): Path<String>| docs_file(&file, config)));
    Door::new(router.with_state(app.clone()), app)
}

/// Ready to serve: the listener opens only when the store is open and the queues are loaded, and the store can take
/// commits. A store that cannot is a 503, so that whoever watches restarts the server.
async fn health(State(app): State<App>) -> Result<impl IntoResponse> {
    app.store.health()?;
    Ok(([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#))
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
