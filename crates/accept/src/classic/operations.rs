//! Design 5: one endpoint, named operations.

use serde_json::{Value, json};

use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, Probe, each, ensure, holds, list, same};

pub(crate) const CHECKS: &[Check] = &[
    ("5 create", create),
    ("5 read", read),
    ("5 update", update),
    ("5 delete", delete),
    ("5 list, in pages", lists),
    ("5 echo and ping", echo_and_ping),
    ("5 an operation that is not recognized is 400", unrecognized),
    ("5 numbers keep their exact text", exact),
    ("5 a table that is not on the list is 403", forbidden),
];

/// The one endpoint, by all its names.
const PATHS: [&str; 3] = ["/order", "/DynamoDBManager", "/v1/operations"];

fn operate(probe: &Probe, operation: &str, payload: &Value) -> Outcome<Answer> {
    operate_at(probe, PATHS[1], operation, payload)
}

fn operate_at(probe: &Probe, path: &str, operation: &str, payload: &Value) -> Outcome<Answer> {
    probe.post(path, &json!({"operation": operation, "tableName": "lambda-apigateway", "payload": payload}))
}

fn item(probe: &Probe, stem: &str) -> Value {
    json!({"id": probe.name(stem), "price": 78.89, "product": "Beautiful Jacket", "order_date": "2024-11-04T10:30:00Z"})
}

/// An item that is there, and its key.
fn made(probe: &Probe) -> Outcome<(Value, Value)> {
    let item = item(probe, "1234ABCG");
    operate(probe, "create", &json!({"Item": item}))?.expect(200)?;
    let key = json!({"Key": {"id": item["id"]}});
    Ok((item, key))
}

fn create(probe: &Probe) -> Outcome {
    for path in PATHS {
        let item = item(probe, path.trim_matches('/').split('/').next_back().unwrap_or_default());
        let payload = json!({"Item": item});
        holds("created", &operate_at(probe, path, "create", &payload)?.expect(200)?, &payload)?;
        operate_at(probe, path, "create", &payload)?.problem(409, "item_exists")?;
    }
    operate(probe, "create", &json!({"Item": {"price": 1}}))?.names(&["/payload/Item/id"])?;
    operate(probe, "create", &json!({"Item": {"id": 7}}))?.names(&["/payload/Item/id"])?;
    operate(probe, "create", &json!({}))?.problem(400, "invalid_request").map(drop)
}

fn read(probe: &Probe) -> Outcome {
    let key = json!({"Key": {"id": probe.name("1234ABCG")}});
    operate(probe, "read", &key)?.problem(404, "item_not_found")?;
    let (item, key) = made(probe)?;
    for path in PATHS {
        holds("read", &operate_at(probe, path, "read", &key)?.expect(200)?, &json!({"Item": item}))?;
    }
    Ok(())
}

fn update(probe: &Probe) -> Outcome {
    let (mut item, key) = made(probe)?;
    let updates = |updates: Value| json!({"Key": key["Key"], "AttributeUpdates": updates});
    item["number"] = json!(10);
    let updated = operate(probe, "update", &updates(json!({"number": {"Value": 10}})))?.expect(200)?;
    holds("updated", &updated, &json!({"Attributes": item}))?;
    item["price"] = json!({"deep": [1, "x", null, true]});
    let updated = operate(probe, "update", &updates(json!({"price": {"Value": item["price"], "Action": "PUT"}})))?;
    holds("replaced", &updated.expect(200)?, &json!({"Attributes": item}))?;
    same("read", &operate(probe, "read", &key)?.expect(200)?["Item"], &item)?;
    operate(probe, "update", &updates(json!({"id": {"Value": "x"}})))?.names(&["/payload/AttributeUpdates/id"])?;
    let unknown = json!({"Key": {"id": probe.name("none")}, "AttributeUpdates": {"number": {"Value": 10}}});
    operate(probe, "update", &unknown)?.problem(404, "item_not_found")?;
    operate(probe, "read", &json!({"Key": {"id": probe.name("none")}}))?.problem(404, "item_not_found").map(drop)
}

fn delete(probe: &Probe) -> Outcome {
    let (_, key) = made(probe)?;
    same("deleted", &operate(probe, "delete", &key)?.expect(200)?, &json!({}))?;
    operate(probe, "delete", &key)?.problem(404, "item_not_found")?;
    operate(probe, "read", &key)?.problem(404, "item_not_found").map(drop)
}

fn lists(probe: &Probe) -> Outcome {
    let mut expected = Vec::new();
    for n in 0..3 {
        let item = json!({"id": format!("{}-{n}", probe.run), "n": n});
        operate(probe, "create", &json!({"Item": item}))?.expect(200)?;
        expected.push(item);
    }
    let whole = operate(probe, "list", &json!({}))?.expect(200)?;
    let count = list(&whole["Items"])?.len();
    holds("counts", &whole, &json!({"Count": count, "ScannedCount": count}))?;
    // Through pages of two, from just before ours on: the list goes by id, and may be long.
    let mut payload = json!({"Limit": 2, "ExclusiveStartKey": {"id": probe.run}});
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let page = operate(probe, "list", &payload)?.expect(200)?;
        ensure!(list(&page["Items"])?.len() <= 2, "a page of more than two: {page}");
        found.extend(list(&page["Items"])?.iter().filter(|item| expected.contains(item)).cloned());
        match page.get("LastEvaluatedKey") {
            Some(last) => payload["ExclusiveStartKey"] = last.clone(),
            None => break,
        }
    }
    same("each once, in order", &json!(each(&found, "id")), &json!(each(&expected, "id")))?;
    operate(probe, "list", &json!({"Limit": 0}))?.names(&["/payload/Limit"])
}

fn echo_and_ping(probe: &Probe) -> Outcome {
    for path in PATHS {
        for payload in [json!({"any": ["thing", 1, null]}), json!([]), json!("text"), json!(7)] {
            let echo = probe.post(path, &json!({"operation": "echo", "payload": payload}))?.expect(200)?;
            same("echo", &echo, &payload)?;
        }
        same("ping", &probe.post(path, &json!({"operation": "ping"}))?.expect(200)?, &json!("pong"))?;
    }
    Ok(())
}

fn unrecognized(probe: &Probe) -> Outcome {
    for path in PATHS {
        let zap = probe.post(path, &json!({"operation": "zap"}))?.problem(400, "unrecognized_operation")?;
        same("what it says", &zap["detail"], &json!("Unrecognized operation \"zap\""))?;
    }
    probe.post(PATHS[0], &json!({}))?.names(&["/operation"])
}

fn exact(probe: &Probe) -> Outcome {
    let id = probe.name("exact");
    let send = |operation: &str, payload: &str| {
        let body = format!(r#"{{"operation":"{operation}","tableName":"lambda-apigateway","payload":{payload}}}"#);
        let answer = probe.client.send("POST", PATHS[0], &[], Some(&body))?;
        ensure!(answer.status == 200, "{operation}: {} {}", answer.status, answer.text);
        Ok(answer.text)
    };
    let numbers = r#""price":78.89,"long":12345678901234567890.123456789,"zeros":10.500"#;
    for text in [
        send("create", &format!(r#"{{"Item":{{"id":"{id}",{numbers}}}}}"#))?,
        send("read", &format!(r#"{{"Key":{{"id":"{id}"}}}}"#))?,
        send("echo", &format!("{{{numbers}}}"))?,
    ] {
        for number in numbers.split(',') {
            ensure!(text.contains(number), "{number} did not stay what it was: {text}");
        }
    }
    Ok(())
}

fn forbidden(probe: &Probe) -> Outcome {
    for path in PATHS {
        for table in ["orders", "ordering", "customers", "LAMBDA-APIGATEWAY", ""] {
            let body = json!({"operation": "list", "tableName": table, "payload": {}});
            probe.post(path, &body)?.problem(403, "table_forbidden")?;
        }
    }
    Ok(())
}
