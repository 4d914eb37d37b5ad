//! E-mail: who is mailed what, once, at the address they have when it is sent.

use cartwright::config::{Config, EmailConfig};
use cartwright::error::Kind;
use cartwright::events::{Queue, handle};
use serde_json::json;

use crate::faults::Fault;
use crate::shop::TestShop;

async fn shop() -> TestShop {
    let operators = Some("desk@shop.example".to_owned().try_into().unwrap());
    TestShop::with_config(Config { email: EmailConfig { customers: true, operators }, ..Config::default() }).await
}

async fn add_ann(shop: &TestShop) {
    let ann = json!({"username": "ann", "email": "ann@example.com", "name": "Ann <Lee>"});
    shop.post("/v1/customers", ann).await.expect(201);
}

#[tokio::test]
async fn a_customer_is_mailed_each_step_at_the_address_they_have_then() {
    let shop = shop().await;
    add_ann(&shop).await;
    let phone = shop.product("<Phöne>", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    let mails = shop.world.take_mails();
    let told: Vec<(&str, &str)> = mails.iter().map(|mail| (mail.to.as_str(), mail.content.subject.as_str())).collect();
    let subjects = ["was received", "is confirmed"].map(|what| format!("Order {order} {what}"));
    assert_eq!(told, [("ann@example.com", subjects[0].as_str()), ("ann@example.com", subjects[1].as_str())]);
    let id = &shop.all("/v1/customers/ann/inbox").await[1]["id"];
    assert_eq!(id, &json!(mails[0].id), "by which a receiver drops repeats");
    assert!(mails[0].content.text.contains("Hello Ann <Lee>,") && mails[0].content.text.contains("1 x <Phöne>"));
    assert!(
        mails[0].content.html.contains("Hello Ann &lt;Lee&gt;,") && mails[0].content.html.contains("1 x &lt;Phöne&gt;")
    );

    shop.patch("/v1/customers/ann", json!({"email": "ann@new.example"})).await.expect(200);
    shop.transition(&order, "CANCELLED").await.expect(200);
    shop.deliver().await;
    let mails = shop.world.take_mails();
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["ann@new.example"]);
}

#[tokio::test]
async fn a_guest_is_mailed_at_the_address_of_the_order_and_nobody_where_there_is_none() {
    let shop = shop().await;
    let phone = shop.product("phone", 100, 5).await;
    shop.fill("guest", &phone, 1).await;
    let contact = json!({"contact": {"email": "guest@example.com"}});
    shop.post("/v1/baskets/guest/checkout", contact).await.expect(202);
    shop.deliver().await;
    let to: Vec<_> = shop.world.take_mails().into_iter().map(|mail| mail.to.as_str().to_owned()).collect();
    assert_eq!(to, ["guest@example.com", "guest@example.com"]);
    shop.order("nobody", &phone, 1).await;
    assert_eq!(shop.world.take_mails(), []);
}

#[tokio::test]
async fn operators_are_mailed_what_they_are_told() {
    let shop = shop().await;
    let phone = shop.product("phone", 100, 1).await;
    shop.order("nobody", &phone, 1).await;
    let mails = shop.world.take_mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to.as_str(), "desk@shop.example");
    assert_eq!(mails[0].content.subject, format!("Product {phone} is sold out"));
}

#[tokio::test]
async fn without_a_server_no_mail_is_even_due() {
    let shop = TestShop::new().await;
    add_ann(&shop).await;
    let phone = shop.product("phone", 100, 1).await;
    shop.order("ann", &phone, 1).await;
    assert_eq!(shop.world.take_mails(), []);
    let queue = shop.get("/v1/queues/EmailQueue").await.expect(200);
    assert_eq!(queue["sinceStart"]["received"], 0, "{queue}");
}

#[tokio::test]
async fn a_message_that_comes_again_is_one_mail_and_one_that_could_not_be_noted_two_of_one_id() {
    let shop = shop().await;
    add_ann(&shop).await;
    let phone = shop.product("phone", 100, 5).await;
    let order = shop.order("ann", &phone, 1).await;
    shop.world.take_mails();
    shop.transition(&order, "CANCELLED").await.expect(200);
    let told = shop.store.receive(Queue::NotificationQueue, 0).await.unwrap().unwrap();
    for _ in 0..3 {
        handle(&shop.app, Queue::NotificationQueue, told.envelope.as_ref().unwrap()).await.unwrap();
    }
    shop.store.delete_message(&told).await.unwrap();
    let due = shop.store.receive(Queue::EmailQueue, 0).await.unwrap().unwrap();
    assert!(shop.store.receive(Queue::EmailQueue, 0).await.unwrap().is_none(), "one notification is one mail");
    shop.faults.next([Fault::Refuse]);
    handle(&shop.app, Queue::EmailQueue, due.envelope.as_ref().unwrap()).await.unwrap_err();
    for _ in 0..3 {
        handle(&shop.app, Queue::EmailQueue, due.envelope.as_ref().unwrap()).await.unwrap();
    }
    shop.store.delete_message(&due).await.unwrap();
    let mails = shop.world.take_mails();
    assert_eq!((mails.len(), &mails[0].id), (2, &mails[1].id));
    shop.deliver().await;
}

#[tokio::test]
async fn a_server_that_puts_off_is_asked_for_hours_and_one_that_refuses_once() {
    let shop = shop().await;
    add_ann(&shop).await;
    let phone = shop.product("phone", 100, 5).await;
    shop.world.refuses_mail(Some((Kind::Unavailable, "mail_unavailable")));
    shop.order("ann", &phone, 1).await;
    let started = shop.app.clock.now();
    shop.world.refuses_mail(Some((Kind::Unavailable, "mail_unavailable")));
    while shop.app.clock.now().duration_since(started).as_hours() < 1 {
        let due = shop.store.next_due_ms(Queue::EmailQueue).unwrap();
        let pause = u64::try_from(due - shop.now_ms()).unwrap_or(0) + 1;
        shop.clock.advance(std::time::Duration::from_millis(pause));
        shop.deliver().await;
    }
    shop.world.refuses_mail(None);
    shop.deliver_with_retries().await;
    assert_eq!(shop.world.take_mails().len(), 2, "after an hour they arrive");

    shop.world.refuses_mail(Some((Kind::Unprocessable, "mail_refused")));
    let order = shop.order("ann", &phone, 1).await;
    let letters = shop.dead_letters(Queue::EmailQueue).await;
    assert_eq!((letters.len(), letters[0].receives), (2, 1));
    assert!(letters[0].body.contains(&order) && !letters[0].body.contains("ann@example.com"), "{}", letters[0].body);
    let inbox = shop.get("/v1/inbox").await.expect(200);
    assert_eq!(
        inbox["items"][0]["facts"],
        json!({"about": "queue", "queue": "EmailQueue", "diedEvent": "EmailDue", "code": "mail_refused"})
    );
    assert_eq!(inbox["items"].as_array().unwrap().len(), 1, "of two in a minute, once");
    shop.world.refuses_mail(None);
    shop.deliver_with_retries().await;
    assert_eq!(shop.world.take_mails(), [], "that mail fails is not told by mail");
}

#[tokio::test]
async fn an_erased_customer_is_not_mailed_any_more_nor_is_the_next_of_that_name_in_their_stead() {
    let shop = shop().await;
    add_ann(&shop).await;
    let phone = shop.product("phone", 100, 5).await;
    shop.world.refuses_mail(Some((Kind::Unavailable, "mail_unavailable")));
    shop.order("ann", &phone, 1).await;
    shop.delete("/v1/customers/ann").await.expect(204);
    let next = json!({"username": "ann", "email": "next@example.com", "name": "Next"});
    shop.post("/v1/customers", next).await.expect(201);
    shop.world.refuses_mail(None);
    shop.deliver_with_retries().await;
    assert_eq!(shop.world.take_mails(), []);
}
