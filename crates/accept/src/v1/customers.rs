//! `/v1/customers`.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("v1 customers: add, read, list, change", life),
    ("v1 customers: name and address are unique, in any case", unique),
    ("v1 customers: an address book", address_book),
    ("v1 customers: export of everything that is kept", export),
    ("v1 customers: erased, with their basket, leaving orders without personal data", erase),
];

fn body(username: &str, email: &str) -> Value {
    json!({"username": username, "email": email, "name": "Ann Lee"})
}

fn life(probe: &Probe) -> Outcome {
    let name = probe.name("Ann");
    let email = format!("{name}@example.com");
    let added = probe.post("/v1/customers", &body(&name, &email))?;
    let (path, etag) = (added.must_have("location")?, added.must_have("etag")?);
    let added = added.expect(201)?;
    same("Location", &json!(path), &json!(format!("/v1/customers/{name}")))?;
    let expected = json!({"username": name, "email": email, "name": "Ann Lee", "addresses": []});
    holds("added", &added, &expected)?;
    same("read", &probe.get(&path)?.expect(200)?, &added)?;
    same("in another case", &probe.get(&path.to_lowercase())?.expect(200)?, &added)?;
    probe.listed("/v1/customers?limit=100", "items", |customer| customer["username"] == name.as_str())?;
    let change = |etag: &str, name: &str| probe.send("PATCH", &path, &[("if-match", etag)], &json!({"name": name}));
    same("changed", &change(&etag, "Ann Low")?.expect(200)?["name"], &json!("Ann Low"))?;
    change(&etag, "Ann High")?.problem(412, "precondition_failed")?;
    same("the first change stays", &probe.get(&path)?.expect(200)?["name"], &json!("Ann Low"))?;
    probe.patch(&path, &json!({}))?.names(&[""])?;
    probe.patch(&path, &json!({"email": "nobody", "age": 7}))?.names(&["/email", "/age"])?;
    let nobody = format!("/v1/customers/{}", probe.name("nobody"));
    probe.get(&nobody)?.problem(404, "customer_not_found")?;
    probe.patch(&nobody, &json!({"name": "x"}))?.problem(404, "customer_not_found").map(drop)
}

fn unique(probe: &Probe) -> Outcome {
    let (name, other) = (probe.customer("ann")?, probe.customer("bob")?);
    let (email, others) = (format!("{name}@example.com"), format!("{other}@example.com"));
    let free = probe.name("free");
    let taken = |username: &str, email: &str| -> Outcome<Value> {
        let answer = probe.post("/v1/customers", &body(username, email))?;
        Ok(answer.problem(409, "transaction_canceled")?["taken"].clone())
    };
    same("the name", &taken(&name.to_uppercase(), &format!("{free}@example.com"))?, &json!(["username"]))?;
    same("the address", &taken(&free, &email.to_uppercase())?, &json!(["email"]))?;
    same("both", &taken(&name, &others)?, &json!(["username", "email"]))?;
    let path = format!("/v1/customers/{other}");
    probe.patch(&path, &json!({"email": email.to_uppercase()}))?.problem(409, "transaction_canceled")?;
    // One's own address in another case is no other's, and an address that was changed is free.
    probe.patch(&path, &json!({"email": others.to_uppercase()}))?.expect(200)?;
    probe.patch(&path, &json!({"email": format!("{free}@example.com")}))?.expect(200)?;
    probe.post("/v1/customers", &body(&free, &others))?.expect(201).map(drop)
}

fn address_book(probe: &Probe) -> Outcome {
    let path = format!("/v1/customers/{}", probe.customer("ann")?);
    let book = format!("{path}/addresses");
    same("empty", &probe.get(&book)?.expect(200)?["items"], &json!([]))?;
    let mut places = Vec::new();
    for (label, address) in [("home", "17 Nightingale Lane"), ("work", "1 Dock Street")] {
        let entry = json!({"label": label, "address": address});
        let added = probe.post(&book, &entry)?;
        let place = added.must_have("location")?;
        let added = added.expect(201)?;
        holds("added", &added, &entry)?;
        same("where it says it is", &probe.get(&place)?.expect(200)?, &added)?;
        places.push(place);
    }
    let kept = probe.get(&book)?.expect(200)?;
    same("the book", &json!(each(list(&kept["items"])?, "label")), &json!(["home", "work"]))?;
    same("with the customer", &probe.get(&path)?.expect(200)?["addresses"], &kept["items"])?;
    let removed = probe.delete(&places[0])?;
    ensure!(removed.status == 204, "removed: {} {}", removed.status, removed.text);
    probe.delete(&places[0])?.problem(404, "address_not_found")?;
    let kept = probe.get(&book)?.expect(200)?;
    same("what is left", &json!(each(list(&kept["items"])?, "label")), &json!(["work"]))?;
    probe.post(&book, &json!({"label": "x"}))?.names(&["/address"])?;
    for n in 2..=20 {
        probe.post(&book, &json!({"address": format!("{n} Long Road")}))?.expect(201)?;
    }
    probe.post(&book, &json!({"address": "21 Long Road"}))?.problem(409, "address_book_full")?;
    let nobody = format!("/v1/customers/{}/addresses", probe.name("nobody"));
    probe.get(&nobody)?.problem(404, "customer_not_found")?;
    probe.post(&nobody, &json!({"address": "x"}))?.problem(404, "customer_not_found").map(drop)
}

fn export(probe: &Probe) -> Outcome {
    let (user, product) = (probe.customer("ann")?, probe.product(100, 10)?);
    let path = format!("/v1/customers/{user}");
    let order = probe.order(&user, &product, 1)?;
    probe.settles(&order, "CONFIRMED")?;
    probe.fill(&user, &product, 2)?;
    let exported = probe.get(&format!("{path}/export"))?.expect(200)?;
    let customer = json!({"username": user, "email": format!("{user}@example.com"), "name": "John Smith"});
    holds("the customer", &exported["customer"], &customer)?;
    same("the basket", &exported["basket"]["lines"][0]["quantity"], &json!(2))?;
    same("the orders", &json!(each(list(&exported["orders"])?, "id")), &json!([order]))?;
    let nobody = format!("/v1/customers/{}/export", probe.name("nobody"));
    probe.get(&nobody)?.problem(404, "customer_not_found").map(drop)
}

fn erase(probe: &Probe) -> Outcome {
    let (user, product) = (probe.customer("ann")?, probe.product(100, 10)?);
    let path = format!("/v1/customers/{user}");
    probe.fill(&user, &product, 1)?;
    let contact = json!({"contact": {"firstName": "Nightingale", "email": format!("{user}@example.com"), "address": "17 Nightingale Lane"}});
    let accepted = probe.post(&format!("/v1/baskets/{user}/checkout"), &contact)?.expect(202)?;
    let order = text(&accepted, "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    probe.fill(&user, &product, 2)?;
    let old = probe.client.send("DELETE", &path, &[("if-match", "\"77\"")], None)?;
    old.problem(412, "precondition_failed")?;
    let erased = probe.delete(&path)?;
    ensure!(erased.status == 204, "erased: {} {}", erased.status, erased.text);
    for path in [path.clone(), format!("{path}/addresses"), format!("{path}/export")] {
        probe.get(&path)?.problem(404, "customer_not_found")?;
    }
    probe.delete(&path)?.problem(404, "customer_not_found")?;
    let kept = probe.wait("the order without personal data", || {
        let found = probe.get(&format!("/v1/orders/{order}"))?;
        // While it is moved, an order may be between two places for a moment.
        let is_clean = !["Nightingale", user.as_str()].iter().any(|personal| found.text.contains(personal));
        Ok((found.status == 200 && is_clean).then_some(found.body))
    })?;
    holds("what stays", &kept, &json!({"status": "CONFIRMED", "itemCount": 1, "lines": [{"productId": product}]}))?;
    probe.wait("no basket", || Ok((probe.get(&format!("/v1/baskets/{user}"))?.status == 404).then_some(())))?;
    // Name and address are free, and who takes them finds nothing of the one before.
    probe.post("/v1/customers", &body(&user, &format!("{user}@example.com")))?.expect(201)?;
    let theirs = probe.get(&format!("{path}/orders"))?.expect(200)?;
    same("no orders", &theirs["items"], &json!([]))?;
    probe.transition(&order, "PACKED")?.expect(200).map(drop)
}
