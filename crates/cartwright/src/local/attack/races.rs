//! The races. Each says what it does in its name, and what broke in its error.

use std::pin::Pin;

use serde_json::{Value, json};

use super::target::{Answer, Arena, Outcome, Target, must_hold};

type Run = for<'a> fn(&'a Target, Arena) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A race.
pub(super) struct Race {
    /// What happens at the same moment.
    pub(super) name: &'static str,
    /// What a shop that gets it wrong suffers.
    pub(super) harm: &'static str,
    pub(super) run: Run,
}

macro_rules! races {
    ($($run:ident: $name:literal, $harm:literal;)*) => {
        /// Every race.
        pub(super) const RACES: &[Race] =
            &[$(Race { name: $name, harm: $harm, run: |target, arena| Box::pin($run(target, arena)) },)*];
    };
}

races! {
    double_checkout: "one basket, checked out many times", "goods go out twice";
    oversell: "many buyers of the last pieces", "more is sold than is there";
    lost_update: "many additions to one basket", "what was put in is missing";
    one_key_at_once: "one Idempotency-Key, many times at once", "a retry is carried out again";
    one_key_two_bodies: "one Idempotency-Key, two requests", "one request gets the answer of another";
    price_in_flight: "a price changes while someone buys", "someone pays what they did not agree to";
    cancel_against_ship: "cancellations against shipments", "goods leave and are back in stock";
    address_in_flight: "checkouts of one basket to two addresses", "goods go to a mixture of two";
    address_book: "many additions to one address book", "an address is lost";
    erase_against_checkout: "an erasure against a checkout", "personal data outlives its erasure";
    one_email: "many customers with one e-mail address", "two people share an identity";
    count_against_sale: "a stock count against sales", "the books no longer add up";
}

fn accepted(answers: &[Answer]) -> Vec<String> {
    answers.iter().filter(|answer| answer.is_success()).map(|answer| answer.text("orderId")).collect()
}

async fn double_checkout(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("double"), target.product(&arena, 100).await?);
    target.fill(&user, &product, 1).await?.expect(200)?;
    let answers = target.at_once(|_| target.check_out(&user, json!({}))).await?;
    let ids = accepted(&answers);
    must_hold!(ids.len() == 1, "{} of {} checkouts of one basket were accepted", ids.len(), answers.len());
    let orders = target.orders_of(&user, 1).await?;
    must_hold!(orders.len() == 1, "{} orders come of one basket", orders.len());
    target.stock_becomes(&product, 100, 1).await
}

async fn oversell(target: &Target, arena: Arena) -> Outcome {
    let there = target.racers as i64 / 2;
    let product = target.product(&arena, there).await?;
    let users: Vec<String> = (0..target.racers).map(|at| arena.name(&format!("buyer{at}"))).collect();
    for user in &users {
        target.fill(user, &product, 1).await?.expect(200)?;
    }
    let answers = target.at_once(|at| target.check_out(&users[at], json!({}))).await?;
    let mut confirmed = 0;
    for id in accepted(&answers) {
        confirmed += i64::from(target.decided(&id).await?["status"] == "CONFIRMED");
    }
    must_hold!(confirmed == there, "{confirmed} of {there} pieces were sold to {} buyers", users.len());
    target.stock_becomes(&product, there, there).await
}

async fn lost_update(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("update"), target.product(&arena, 100).await?);
    let answers = target.at_once(|_| target.fill(&user, &product, 1)).await?;
    let added = answers.iter().filter(|answer| answer.is_success()).count();
    let basket = target.get(&format!("/v1/baskets/{user}")).await?.expect(200)?;
    let there = &basket["items"][0]["quantity"];
    must_hold!(*there == json!(added), "{added} pieces were put into a basket that has {there}");
    Ok(())
}

async fn one_key_at_once(target: &Target, arena: Arena) -> Outcome {
    let (key, product) = (arena.name("key"), target.product(&arena, 10).await?);
    let path = format!("/v1/products/{product}/stock/movements");
    let book = || target.post_once(&path, &key, json!({"kind": "received", "quantity": 5}));
    let answers = target.at_once(|_| book()).await?;
    let last = book().await?.expect(201)?;
    let others = answers.iter().filter(|answer| answer.is_success() && answer.body["id"] != last["id"]).count();
    must_hold!(others == 0, "{others} answers under one key tell of another booking than the first");
    target.stock_becomes(&product, 15, 0).await
}

async fn one_key_two_bodies(target: &Target, arena: Arena) -> Outcome {
    let (key, product) = (arena.name("two"), target.product(&arena, 10).await?);
    let path = format!("/v1/products/{product}/stock/movements");
    let book = |quantity: usize| target.post_once(&path, &key, json!({"kind": "received", "quantity": quantity}));
    let answers = target.at_once(|at| book(1 + at % 2)).await?;
    let taken: Vec<usize> = (0..answers.len()).filter(|&at| answers[at].is_success()).map(|at| 1 + at % 2).collect();
    let first = taken.first().copied().unwrap_or_default();
    must_hold!(taken.iter().all(|quantity| *quantity == first), "two different requests were taken under one key");
    let other = book(7).await?;
    must_hold!(other.status == 422, "a third request under the key is answered {} {}", other.status, other.body);
    target.stock_becomes(&product, 10 + first as i64, 0).await
}

async fn price_in_flight(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("price"), target.product(&arena, 100).await?);
    target.fill(&user, &product, 2).await?.expect(200)?;
    let (agreed, dearer) = (target.price(2_000).await?, json!({"price": target.price(1_500).await?}));
    let path = format!("/v1/products/{product}");
    let answers = target
        .at_once(|at| {
            let (user, agreed, dearer, path) = (&user, agreed.clone(), dearer.clone(), &path);
            async move {
                if at == target.racers / 2 {
                    return target.patch(path, dearer).await;
                }
                target.check_out(user, json!({"expectedTotal": agreed})).await
            }
        })
        .await?;
    let ids: Vec<String> = accepted(&answers).into_iter().filter(|id| !id.is_empty()).collect();
    must_hold!(ids.len() <= 1, "{} orders come of one basket", ids.len());
    for id in ids {
        let order = target.decided(&id).await?;
        must_hold!(order["total"] == agreed, "the buyer agreed to {agreed} and is charged {}", order["total"]);
        let held = if order["status"] == "CONFIRMED" { 2 } else { 0 };
        target.stock_becomes(&product, 100, held).await?;
    }
    Ok(())
}

async fn cancel_against_ship(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("ship"), target.product(&arena, 10).await?);
    let order = target.order(&user, &product, 4).await?;
    target.transition(&order, "PACKED").await?.expect(200)?;
    let to = |at: usize| if at.is_multiple_of(2) { "CANCELLED" } else { "SHIPPED" };
    let answers = target.at_once(|at| target.transition(&order, to(at))).await?;
    let done = |status: &str| (0..answers.len()).any(|at| answers[at].is_success() && to(at) == status);
    must_hold!(!(done("CANCELLED") && done("SHIPPED")), "the order was cancelled, and shipped");
    let status = target.get(&format!("/v1/orders/{order}")).await?.expect(200)?["status"].clone();
    must_hold!(status == "CANCELLED" || status == "SHIPPED", "the order is {status}");
    must_hold!(status.as_str().is_some_and(done), "the order is {status}, and nobody was told so");
    target.stock_becomes(&product, if status == "SHIPPED" { 6 } else { 10 }, 0).await
}

fn contact(of: &str) -> Value {
    json!({"contact": {"firstName": of, "lastName": of, "address": format!("{of} Street")}})
}

async fn address_in_flight(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("address"), target.product(&arena, 100).await?);
    target.fill(&user, &product, 1).await?.expect(200)?;
    let whose = |at: usize| if at.is_multiple_of(2) { "North" } else { "South" };
    let answers = target.at_once(|at| target.check_out(&user, contact(whose(at)))).await?;
    let winners: Vec<usize> = (0..answers.len()).filter(|&at| answers[at].is_success()).collect();
    must_hold!(winners.len() == 1, "{} of {} checkouts of one basket were accepted", winners.len(), answers.len());
    let order = target.decided(&answers[winners[0]].text("orderId")).await?;
    let expected = contact(whose(winners[0]))["contact"].clone();
    must_hold!(order["contact"] == expected, "sent to {expected} was {}", order["contact"]);
    Ok(())
}

async fn address_book(target: &Target, arena: Arena) -> Outcome {
    let user = arena.name("book");
    target.customer(&user, &format!("{user}@example.com")).await?.expect(201)?;
    let path = format!("/v1/customers/{user}/addresses");
    let answers = target.at_once(|at| target.post(&path, json!({"address": format!("Street {at}")}))).await?;
    let book = target.get(&path).await?.expect(200)?;
    let kept: Vec<&Value> = book["items"].as_array().into_iter().flatten().map(|entry| &entry["address"]).collect();
    let lost =
        (0..answers.len()).find(|&at| answers[at].is_success() && !kept.contains(&&json!(format!("Street {at}"))));
    must_hold!(lost.is_none(), "an address that was taken is not in the book: {book}");
    let mut ids: Vec<String> =
        book["items"].as_array().into_iter().flatten().map(|entry| entry["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    must_hold!(ids.len() == kept.len(), "two addresses have one id: {book}");
    Ok(())
}

async fn erase_against_checkout(target: &Target, arena: Arena) -> Outcome {
    let (user, product) = (arena.name("erase"), target.product(&arena, 100).await?);
    target.customer(&user, &format!("{user}@example.com")).await?.expect(201)?;
    target.fill(&user, &product, 1).await?.expect(200)?;
    let before = target.check_out(&user, contact("Before")).await?.expect(202)?;
    target.fill(&user, &product, 1).await?.expect(200)?;
    let answers = target
        .at_once(|at| {
            let user = &user;
            async move {
                if at == target.racers / 2 {
                    return target.delete(&format!("/v1/customers/{user}")).await;
                }
                target.check_out(user, contact("During")).await
            }
        })
        .await?;
    let during: Vec<String> = accepted(&answers).into_iter().filter(|id| !id.is_empty()).collect();
    must_hold!(during.len() <= 1, "{} orders come of one basket", during.len());
    let first = before["orderId"].as_str().unwrap_or_default().to_owned();
    target
        .wait("the order from before the erasure has no personal data any more", || async {
            let order = target.decided(&first).await?;
            let is_anonymous = order["customer"] != *user && !order["contact"].to_string().contains("Before");
            Ok(is_anonymous.then_some(()))
        })
        .await?;
    for id in during {
        // It came before the erasure, and lost its data with it, or after it, and is a stranger's of that name.
        let order = target.decided(&id).await?;
        let has_data = order["contact"].to_string().contains("During");
        let is_theirs = order["customer"] == *user;
        must_hold!(has_data == is_theirs, "the order {id} has the name of one and the data of another: {order}");
    }
    Ok(())
}

async fn one_email(target: &Target, arena: Arena) -> Outcome {
    let email = format!("{}@example.com", arena.name("mail"));
    let answers = target.at_once(|at| {
        let (name, email) = (arena.name(&format!("mail{at}")), email.clone());
        async move { target.customer(&name, &email).await }
    });
    let added = answers.await?.iter().filter(|answer| answer.is_success()).count();
    must_hold!(added == 1, "{added} customers have one e-mail address");
    Ok(())
}

async fn count_against_sale(target: &Target, arena: Arena) -> Outcome {
    let product = target.product(&arena, 50).await?;
    let users: Vec<String> = (0..target.racers).map(|at| arena.name(&format!("count{at}"))).collect();
    for user in &users {
        target.fill(user, &product, 1).await?.expect(200)?;
    }
    let (counter, path) = (target.racers / 2, format!("/v1/products/{product}/stock"));
    let answers = target
        .at_once(|at| {
            let (users, path) = (&users, &path);
            async move {
                if at == counter {
                    return target.put(path, json!({"onHand": 40})).await;
                }
                target.check_out(&users[at], json!({})).await
            }
        })
        .await?;
    let on_hand = if answers[counter].is_success() { 40 } else { 50 };
    let mut sold = 0;
    for (at, answer) in answers.iter().enumerate().filter(|(at, answer)| *at != counter && answer.is_success()) {
        let order = target.decided(&answer.text("orderId")).await?;
        must_hold!(order["status"] == "CONFIRMED", "the order of {} is {order}, and there was enough", users[at]);
        sold += 1;
    }
    target.stock_becomes(&product, on_hand, sold).await
}
