//! How long what is not kept for ever is kept.

use std::collections::BTreeMap;

use cartwright::local::sqlite::FILE_NAME;
use http::Method;
use serde_json::json;

use crate::shop::TestShop;

/// What the file has that may be removed some day: table and kinds of key, and after how many minutes.
fn kept(shop: &TestShop) -> BTreeMap<String, i64> {
    let file = rusqlite::Connection::open(shop.folder.join(FILE_NAME)).unwrap();
    let mut kept = BTreeMap::new();
    for table in ["catalog", "basket", "ordering", "notifications"] {
        let sql = format!("SELECT pk, sk, expires_at_ms FROM {table} WHERE expires_at_ms IS NOT NULL");
        let mut statement = file.prepare(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let kind = |text: String| text.split('#').next().unwrap().to_owned();
            let (pk, sk) = (kind(row.get(0).unwrap()), kind(row.get(1).unwrap()));
            let sk = if sk.chars().any(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()) {
                "…".into()
            } else {
                sk
            };
            let minutes = (row.get::<_, i64>(2).unwrap() - shop.now_ms()) / 60_000;
            kept.insert(format!("{table} {pk} {sk}"), minutes);
        }
    }
    kept
}

#[tokio::test]
async fn everything_is_kept_as_long_as_is_said() {
    const DAY: i64 = 24 * 60;
    let shop = TestShop::new().await;
    shop.customer("ann").await;
    let phone = shop.product("phone", 100, 1).await;
    shop.post("/v1/subscriptions", json!({"url": "https://shop.example/hook", "events": ["OrderConfirmed"]}))
        .await
        .expect(201);
    shop.deliver().await;
    shop.fill("ann", &phone, 1).await;
    let body = json!({}).to_string();
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    shop.send(Method::POST, "/v1/baskets/ann/checkout", &headers, body).await.expect(202);
    shop.deliver().await;
    shop.send(Method::PUT, &format!("/v1/products/{phone}/watchers/bob"), &[], "").await.expect(201);
    let mut all = kept(&shop);
    shop.delete("/v1/customers/ann").await.expect(204);
    shop.deliver().await;
    all.extend(kept(&shop));
    let expected = [
        ("basket BASKETS …", 15),
        ("basket CHECKOUT CHECKOUT", DAY),
        ("basket IDEMPOTENCY ANSWER", DAY),
        ("notifications DELIVERIES …", 30 * DAY),
        ("notifications INBOX ENTRY", 90 * DAY),
        ("notifications INBOX HEAD", 30 * DAY),
        ("notifications INBOX SEEN", 90 * DAY),
        ("notifications WATCHERS …", 365 * DAY),
        ("notifications WATCHES …", 365 * DAY),
        ("ordering ERASED ERASED", 30 * DAY),
    ];
    assert_eq!(all, expected.map(|(kind, minutes)| (kind.to_owned(), minutes)).into());
}
