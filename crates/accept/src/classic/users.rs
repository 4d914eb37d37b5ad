//! Design 2: users.

use serde_json::{Value, json};

use crate::Check;
use crate::probe::{Outcome, Probe, ensure, holds, same, text};

pub(crate) const CHECKS: &[Check] = &[
    ("2 POST /add_user", add_user),
    ("2 POST /add_user: a name or an address that is taken, in another case, is 409", taken),
    ("2 GET /users/{username}", get_user),
    ("2 POST /edit-address", edit_address),
    ("2 DELETE /users/{username}: name and address are free", delete_user),
    ("2 DELETE /users/{username}: orders stay, without personal data", erased),
];

/// Adds a user through the classic path.
pub(super) fn add(probe: &Probe, username: &str) -> Outcome {
    let body = json!({"email": format!("{username}@example.com"), "name": "john smith", "username": username});
    let added = probe.post("/add_user/", &body)?.expect(200)?;
    holds("added", &added, &json!({"message": format!("User {username} with added successfully")}))
}

/// The item of a user who was added so.
pub(super) fn profile(username: &str) -> Value {
    let key = format!("CUSTOMER#{username}");
    json!({"PK": key, "SK": key, "Username": username, "Name": "john smith", "Email": format!("{username}@example.com")})
}

fn add_user(probe: &Probe) -> Outcome {
    let name = probe.name("test111");
    add(probe, &name)?;
    holds("added", &probe.get(&format!("/users/{name}"))?.expect(200)?["data"], &profile(&name))?;
    probe.post("/add_user", &json!({}))?.names(&["/email", "/name", "/username"])?;
    let bad = json!({"email": "nobody", "name": "", "username": "a#b"});
    probe.post("/add_user", &bad)?.names(&["/email", "/name", "/username"])
}

fn taken(probe: &Probe) -> Outcome {
    let name = probe.name("taken");
    add(probe, &name)?;
    let (free, email) = (probe.name("other"), format!("{}@EXAMPLE.com", name.to_uppercase()));
    for (username, email, expected) in [
        (name.to_uppercase(), format!("{free}@example.com"), json!(["username"])),
        (free, email.clone(), json!(["email"])),
        (name.clone(), email, json!(["username", "email"])),
    ] {
        let body = json!({"email": email, "name": "x", "username": username});
        let problem = probe.post("/add_user", &body)?.problem(409, "transaction_canceled")?;
        same("title", &problem["title"], &json!("Transaction Canceled"))?;
        same("which is taken", &problem["taken"], &expected)?;
    }
    holds("the first one", &probe.get(&format!("/users/{name}"))?.expect(200)?["data"], &profile(&name))
}

fn get_user(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    probe.get(&format!("/users/{name}"))?.problem(404, "customer_not_found")?;
    add(probe, &name)?;
    let fetched = probe.get(&format!("/users/{name}"))?.expect(200)?;
    let expected = json!({"message": "User fetched successfully", "success": true, "data": profile(&name)});
    holds("fetched", &fetched, &expected)?;
    ensure!(fetched["data"].get("Address").is_none(), "an address nobody gave: {fetched}");
    let loud = probe.get(&format!("/users/{}", name.to_uppercase()))?.expect(200)?;
    same("in another case", &loud["data"], &fetched["data"])
}

fn edit_address(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    add(probe, &name)?;
    let edit = |name: &str, address: &str| {
        let path = format!("/edit-address?username={name}&new_address={address}");
        probe.client.send("POST", &path, &[], Some(""))
    };
    for (sent, address) in
        [("17%20Nightingale%20Lane", "17 Nightingale Lane"), ("B%C3%B6hmstra%C3%9Fe+1", "Böhmstraße 1")]
    {
        let mut expected = profile(&name);
        expected["Address"] = json!(address);
        let answer = edit(&name, sent)?.expect(200)?;
        holds(
            "edited",
            &answer,
            &json!({"message": "Address updated successfully", "success": true, "data": expected}),
        )?;
        holds("kept", &probe.get(&format!("/users/{name}"))?.expect(200)?["data"], &expected)?;
    }
    edit(&name, "")?.names(&["?new_address"])?;
    let ghost = probe.name("ghost");
    edit(&ghost, "x")?.problem(404, "customer_not_found")?;
    probe.get(&format!("/users/{ghost}"))?.problem(404, "customer_not_found").map(drop)
}

fn delete_user(probe: &Probe) -> Outcome {
    let name = probe.name("john");
    let path = format!("/users/{name}");
    probe.delete(&path)?.problem(404, "customer_not_found")?;
    add(probe, &name)?;
    probe.delete(&path)?.expect(200)?;
    probe.get(&path)?.problem(404, "customer_not_found")?;
    probe.delete(&path)?.problem(404, "customer_not_found")?;
    // The address is free for another, and the name for yet another.
    let other = json!({"email": format!("{name}@example.com"), "name": "x", "username": probe.name("other")});
    probe.post("/add_user", &other)?.expect(200)?;
    let again = json!({"email": format!("{name}@example.org"), "name": "x", "username": name});
    probe.post("/add_user", &again)?.expect(200).map(drop)
}

fn erased(probe: &Probe) -> Outcome {
    let (name, product) = (probe.name("erased"), probe.product(100, 10)?);
    add(probe, &name)?;
    probe.fill(&name, &product, 1)?;
    let request = json!({"userName": name, "firstName": "Nightingale", "email": format!("{name}@example.com"),
        "address": "17 Nightingale Lane", "cardInfo": "5554443322221111"});
    let accepted = probe.post("/basket/checkout", &request)?.expect(200)?;
    let order = text(&accepted["body"], "orderId")?;
    probe.settles(&order, "CONFIRMED")?;
    probe.delete(&format!("/users/{name}"))?.expect(200)?;
    let kept = probe.wait("the order without personal data", || {
        let found = probe.get(&format!("/v1/orders/{order}"))?;
        // While it is moved, an order may be between two places for a moment.
        let is_clean = !["Nightingale", name.as_str(), "1111"].iter().any(|personal| found.text.contains(personal));
        Ok((found.status == 200 && is_clean).then_some(found.body))
    })?;
    holds("what stays", &kept, &json!({"status": "CONFIRMED", "total": {"amount": 100}, "itemCount": 1}))?;
    add(probe, &name)?;
    let theirs = probe.get(&format!("/order/{name}"))?.expect(200)?;
    same("the next one of this name has no orders", &theirs["body"], &json!([]))
}
