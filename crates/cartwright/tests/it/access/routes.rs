//! Every route, asked by everybody.

use std::collections::BTreeSet;

use cartwright::access::{Requires, Role};
use cartwright::api;
use cartwright::local::sqlite::FILE_NAME;
use cartwright::store::Table;
use serde_json::{Value, json};

use crate::shop::{Answer, TestShop};

/// A shop where ann and bob each have a profile, a basket and a confirmed order.
struct Town {
    shop: TestShop,
    product: String,
    /// Of ann and of bob.
    orders: [String; 2],
    spare_key: String,
}

const NAMES: [&str; 2] = ["ann", "bob"];

impl Town {
    async fn new() -> Self {
        let shop = TestShop::protected().await;
        // So that a stream ends after what is there.
        shop.hub.close();
        let product = shop.product("phone", 1_000, 50).await;
        let mut orders = [String::new(), String::new()];
        for (name, order) in NAMES.into_iter().zip(&mut orders) {
            let email = format!("{name}@private.example");
            shop.post("/v1/customers", json!({"username": name, "name": name, "email": email})).await.expect(201);
            let address = json!({"address": format!("{name}'s secret street")});
            shop.post(&format!("/v1/customers/{name}/addresses"), address).await.expect(201);
            *order = shop.order(name, &product, 1).await;
            shop.fill(name, &product, 2).await;
            shop.put(&format!("/v1/products/{product}/watchers/{name}"), json!({})).await.expect(201);
        }
        let spare = shop.key(Role::Staff, None).await;
        let spare_key = spare.split('_').nth(1).unwrap().to_owned();
        Town { shop, product, orders, spare_key }
    }

    /// A request on a route, about what belongs to one of the two as far as it belongs to anybody.
    fn request(&self, path: &str, whose: usize) -> (String, Value) {
        let (name, order) = (NAMES[whose], self.orders[whose].as_str());
        let value = |section: &str, part: &str| match part {
            "{user}" | "{username}" | "{userName}" => name.to_owned(),
            "{productId}" => self.product.clone(),
            "{id}" if section.starts_with("product") && section != "product-purchase" => self.product.clone(),
            "{id}" | "{order_id}" if section == "orders" => order.to_owned(),
            "{id}" if section == "purchases" || section == "product-purchase" => uuid::Uuid::nil().to_string(),
            "{id}" if section == "queues" => "1".to_owned(),
            "{id}" if section == "subscriptions" || section == "deliveries" => uuid::Uuid::nil().to_string(),
            "{movementId}" => uuid::Uuid::nil().to_string(),
            "{addressId}" => "1".to_owned(),
            "{name}" => "OrderQueue".to_owned(),
            "{keyId}" => self.spare_key.clone(),
            "{*file}" if section == "web" => "base.css".to_owned(),
            "{*file}" => "swagger-ui.css".to_owned(),
            "{version}" => "0123456789abcdef".to_owned(),
            _ => panic!("give {part} in {path} a value here"),
        };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let section = if parts[0] == "v1" { parts[1] } else { parts[0] };
        let mut target = String::new();
        for part in &parts {
            target.push('/');
            target += &if part.starts_with('{') { value(section, part) } else { (*part).to_owned() };
        }
        let line = json!({"productId": self.product, "quantity": 1});
        let body = match path {
            "/v1/feed" => {
                target += &format!("?after=0&topic=order:{order}");
                json!({})
            }
            "/edit-address" => {
                target += &format!("?username={name}&new_address=elsewhere");
                json!({})
            }
            "/orders" | "/orders/{order_id}" => {
                target += &format!("?username={name}");
                json!({"username": name, "status": "CANCEL", "amount": 1, "numItems": 1})
            }
            "/basket" => json!({"userName": name, "items": [line]}),
            "/basket/checkout" => json!({"userName": name}),
            "/v1/customers" | "/add_user" => json!({"username": name, "name": "new", "email": "new@private.example"}),
            "/v1/customers/{username}" => json!({"name": "new"}),
            "/v1/customers/{username}/addresses" => json!({"address": "elsewhere"}),
            "/v1/orders/{id}/transitions" => json!({"to": "CANCELLED"}),
            "/v1/customers/{username}/inbox/read" => json!({"upTo": 1}),
            "/v1/baskets/{user}" => json!({"items": [line]}),
            "/v1/baskets/{user}/items" => line,
            "/v1/baskets/{user}/items/{productId}" => json!({"quantity": 3}),
            _ => json!({}),
        };
        (target, body)
    }

    async fn ask(&self, credential: Option<&str>, method: &str, path: &str, whose: usize) -> Answer {
        let (target, body) = self.request(path, whose);
        self.shop.send_as(credential, method, &target, &body).await
    }

    /// Everything that is kept, but for when keys were used, and everything that waits in queues.
    fn state(&self) -> BTreeSet<String> {
        let file = rusqlite::Connection::open(self.shop.folder.join(FILE_NAME)).unwrap();
        let mut state = BTreeSet::new();
        for table in Table::ALL {
            let name = table.name();
            let sql = format!(
                "SELECT pk || ' ' || sk || ' ' || version || ' ' || body FROM {name} WHERE pk NOT GLOB 'USE#*'"
            );
            let mut rows = file.prepare(&sql).unwrap();
            state.extend(rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
        }
        let mut rows = file.prepare("SELECT queue || ' ' || body FROM messages").unwrap();
        state.extend(rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
        state
    }
}

/// Whether a request was refused to whoever made it.
fn is_refused(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 401 | 403)
}

/// What the one user called so has under a path where others have none.
fn belongs_to_checkout(method: &str, path: &str) -> bool {
    path == "/basket/checkout" && method != "POST"
}

#[tokio::test]
async fn nobody_gets_past_a_route_that_requires_more_than_they_are_and_nothing_changes() {
    let town = Town::new().await;
    let ann = town.shop.key(Role::Customer, Some("ann")).await;
    let staff = town.shop.key(Role::Staff, None).await;
    let before = town.state();
    for (method, path, requires) in api::requirements() {
        let everyone =
            [(None, None), (Some(Role::Customer), Some(ann.as_str())), (Some(Role::Staff), Some(staff.as_str()))];
        for (role, credential) in everyone {
            if role >= requires.least_role() {
                continue;
            }
            let answer = town.ask(credential, method, path, 0).await;
            let expected = if role.is_none() { (401, "unauthenticated") } else { (403, "forbidden") };
            assert_eq!((answer.status.as_u16(), answer.code()), expected, "{method} {path} by {role:?}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), role.is_none());
        }
        if requires == Requires::Anyone {
            let answer = town.ask(None, method, path, 0).await;
            let is_answered = answer.status.as_u16() < 400 || (path == "/ws" && answer.code() == "websocket_expected");
            assert!(is_answered, "{method} {path} by anyone: {answer:?}");
        }
    }
    assert_eq!(town.state(), before);
}

#[tokio::test]
async fn a_customer_neither_reads_nor_changes_anything_of_another_on_any_route() {
    let town = Town::new().await;
    let bob = town.shop.key(Role::Customer, Some("bob")).await;
    let nameless_staff = town.shop.key(Role::Staff, Some("bob")).await;
    let before = town.state();
    for (method, path, requires) in api::requirements().into_iter().filter(|route| route.2 == Requires::Customer) {
        let answer = town.ask(Some(&bob), method, path, 0).await;
        // Where an order's id is all that is named, it does not exist for others.
        let expected = match path {
            "/v1/orders/{id}" | "/v1/orders/{id}/timeline" | "/v1/orders/{id}/transitions" | "/v1/feed" => {
                (404, "order_not_found")
            }
            _ => (403, "forbidden"),
        };
        assert_eq!((answer.status.as_u16(), answer.code()), expected, "{method} {path} ({requires:?})");
        let told = answer.body.to_string();
        assert!(!told.contains("private.example") && !told.contains("secret street"), "{method} {path}: {told}");
    }
    assert_eq!(town.state(), before);
    // An order that is there looks to others exactly like one that is not.
    let of_ann = town.shop.send_as(Some(&bob), "GET", &format!("/v1/orders/{}", town.orders[0]), &json!({})).await;
    let of_nobody = town.shop.send_as(Some(&bob), "GET", "/v1/orders/3G0oGJ8Jb2pTr2mGDGp5jH5bxxx", &json!({})).await;
    assert_eq!((of_ann.body["detail"].clone(), of_ann.status), (of_nobody.body["detail"].clone(), of_nobody.status));
    // A key of staff that also names a customer is one of staff.
    town.shop.send_as(Some(&nameless_staff), "GET", "/v1/customers/ann", &json!({})).await.expect(200);
}

#[tokio::test]
async fn an_order_of_another_is_not_reached_under_ones_own_name() {
    let town = Town::new().await;
    let bob = town.shop.key(Role::Customer, Some("bob")).await;
    let before = town.state();
    let order = &town.orders[0];
    let read = town.shop.send_as(Some(&bob), "GET", &format!("/orders/{order}?username=bob"), &json!({})).await;
    assert_eq!((read.status.as_u16(), read.code()), (404, "order_not_found"));
    let change = json!({"username": "bob", "status": "CANCEL"});
    let changed = town.shop.send_as(Some(&bob), "PUT", &format!("/orders/{order}"), &change).await;
    assert_eq!((changed.status.as_u16(), changed.code()), (404, "order_not_found"));
    assert_eq!(town.state(), before);
}

#[tokio::test]
async fn a_customer_does_what_a_customer_does() {
    for (method, path, _) in api::requirements().into_iter().filter(|route| route.2 == Requires::Customer) {
        if belongs_to_checkout(method, path) {
            continue;
        }
        let town = Town::new().await;
        let ann = town.shop.key(Role::Customer, Some("Ann")).await;
        if method == "POST" && matches!(path, "/v1/customers" | "/add_user") {
            town.shop.delete("/v1/customers/ann").await.expect(204);
        }
        let answer = town.ask(Some(&ann), method, path, 0).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        town.shop.deliver().await;
    }
}

#[tokio::test]
async fn a_customer_called_checkout_has_a_basket_too() {
    let town = Town::new().await;
    let checkout = town.shop.key(Role::Customer, Some("checkout")).await;
    let line = json!({"productId": town.product, "quantity": 1});
    town.shop.send_as(Some(&checkout), "POST", "/v1/baskets/checkout/items", &line).await.expect(200);
    town.shop.send_as(Some(&checkout), "GET", "/basket/checkout", &json!({})).await.expect(200);
    town.shop.send_as(Some(&checkout), "DELETE", "/basket/checkout", &json!({})).await.expect(200);
}

#[tokio::test]
async fn staff_and_admins_are_let_in_wherever_their_role_will_do() {
    let town = Town::new().await;
    for role in [Role::Staff, Role::Admin] {
        let key = town.shop.key(role, None).await;
        for (method, path, requires) in api::requirements() {
            if requires.least_role() <= Some(role) {
                let answer = town.ask(Some(&key), method, path, 1).await;
                assert!(
                    !is_refused(&answer) && answer.status.as_u16() < 500,
                    "{method} {path} by {role:?}: {answer:?}"
                );
            }
        }
    }
    town.shop.deliver().await;
}

#[tokio::test]
async fn a_customer_cancels_an_order_and_takes_no_other_step() {
    let town = Town::new().await;
    let ann = town.shop.key(Role::Customer, Some("ann")).await;
    let path = format!("/v1/orders/{}", town.orders[0]);
    let order = town.shop.send_as(Some(&ann), "GET", &path, &json!({})).await.expect(200);
    assert_eq!((&order["status"], &order["nextStatuses"]), (&json!("CONFIRMED"), &json!(["CANCELLED"])));
    for to in ["PACKED", "SHIPPED", "DELIVERED", "RETURNED", "PLACED", "REJECTED"] {
        let refused = town.shop.send_as(Some(&ann), "POST", &format!("{path}/transitions"), &json!({"to": to})).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, "forbidden"), "{to}");
    }
    let classic = format!("/orders/{}", town.orders[0]);
    let refused = town.shop.send_as(Some(&ann), "PUT", &classic, &json!({"username": "ann", "status": "PACKED"})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "forbidden"));
    town.shop
        .send_as(Some(&ann), "POST", &format!("{path}/transitions"), &json!({"to": "CANCELLED"}))
        .await
        .expect(200);
    town.shop.deliver().await;
}

#[tokio::test]
async fn an_answer_kept_under_an_idempotency_key_is_for_nobody_else() {
    let town = Town::new().await;
    let keys = [town.shop.key(Role::Staff, None).await, town.shop.key(Role::Staff, None).await];
    let body = json!({"customer": "ann", "total": {"amount": 5, "currency": "USD"}, "itemCount": 1}).to_string();
    let mut answers = Vec::new();
    for key in &keys {
        let credential = format!("Bearer {key}");
        let headers =
            [("authorization", credential.as_str()), ("idempotency-key", "k1"), ("content-type", "application/json")];
        answers.push(town.shop.send(http::Method::POST, "/v1/orders", &headers, body.clone()).await);
    }
    assert_eq!((answers[0].status.as_u16(), answers[1].status.as_u16()), (201, 201));
    assert_ne!(answers[0].body["id"], answers[1].body["id"], "each has an order of their own");
    town.shop.deliver().await;
}

#[tokio::test]
async fn what_forgets_to_ask_whose_it_is_neither_answers_nor_changes_anything() {
    use cartwright::access::{Known, Principal};
    use cartwright::store::{Batch, Change, Expect, Key, Once, transact};
    let shop = TestShop::protected().await;
    let ann = Known::new("key:1", "ann", Role::Customer, Some("ann".try_into().unwrap()));
    for forgetful in [Principal::Known(ann), Principal::Anonymous] {
        let app = shop.app.for_principal(forgetful);
        let once = Once::unkeyed();
        let outcome = transact(&app, &once, Table::Basket, || async {
            let mut batch = Batch::new(Table::Basket);
            batch.put(Key::new(Table::Basket, "X", "X"), Expect::Absent, &json!({}))?;
            Ok(Change { batch, result: () })
        });
        assert_eq!(outcome.await.unwrap_err().code(), "internal_error");
    }
    assert!(cartwright::store::Store::get(&*shop.store, &Key::new(Table::Basket, "X", "X")).await.unwrap().is_none());
    use cartwright::rest::{Door, Reply, Routes};
    let forgets = async |_: cartwright::app::App| Reply::<200, Value>::new(json!({"whose": "bob's"}));
    let routes = Routes::default().beside(http::Method::GET, "/forgets", Requires::Customer, forgets);
    let door = Door::new(routes.build().with_state(shop.app.clone()), &shop.app);
    let unguarded = axum::Router::new().route("/bare", axum::routing::get(forgets)).with_state(shop.app.clone());
    let unguarded = Door::new(unguarded, &shop.app);
    let key = shop.key(Role::Customer, Some("ann")).await;
    let ask = |path: &str| {
        let request = http::Request::get(path).header("authorization", format!("Bearer {key}"));
        request.body(axum::body::Body::empty()).unwrap()
    };
    assert_eq!(door.answer(ask("/forgets")).await.status(), 500);
    assert_eq!(unguarded.answer(ask("/bare")).await.status(), 500, "no handler gets the application without a guard");
}
