//! System 5: one endpoint, named operations.

use serde_json::{Value, json};

use crate::Check;
use crate::client::Answer;
use crate::probe::{Outcome, Probe, ensure, same};

pub(crate) const CHECKS: &[Check] = &[
    ("5 create, read, update, delete, list", items),
    ("5 echo, ping and what is not recognized, on all three paths", paths),
    ("5 numbers keep their exact text", exact),
    ("5 a table that is not on the list is 403", forbidden),
];

fn operate(probe: &Probe, operation: &str, payload: &Value) -> Outcome<Answer> {
    probe.post(
        "/DynamoDBManager",
        &json!({"operation": operation, "tableName": "lambda-apigateway", "payload": payload}),
    )
}

fn items(probe: &Probe) -> Outcome {
    let id = probe.name("1234ABCG");
    let key = json!({"Key": {"id": id}});
    let item = json!({"id": id, "price": 78.89, "product": "Beautiful Jacket", "order_date": "2024-11-04T10:30:00Z"});
    operate(probe, "read", &key)?.problem(404, "item_not_found")?;
    same("created", &operate(probe, "create", &json!({"Item": item}))?.expect(200)?, &json!({"Item": item}))?;
    operate(probe, "create", &json!({"Item": item}))?.problem(409, "item_exists")?;
    same("read", &operate(probe, "read", &key)?.expect(200)?, &json!({"Item": item}))?;
    let updates = json!({"Key": {"id": id}, "AttributeUpdates": {"number": {"Value": 10}}});
    let mut updated = item.clone();
    updated["number"] = json!(10);
    same("updated", &operate(probe, "update", &updates)?.expect(200)?, &json!({"Attributes": updated}))?;
    let listed = operate(probe, "list", &json!({"Limit": 1}))?.expect(200)?;
    ensure!(listed["Count"] == 1 && listed["ScannedCount"] == 1 && listed["Items"].is_array(), "{listed}");
    same("deleted", &operate(probe, "delete", &key)?.expect(200)?, &json!({}))?;
    operate(probe, "delete", &key)?.problem(404, "item_not_found").map(drop)
}

fn paths(probe: &Probe) -> Outcome {
    for path in ["/order", "/DynamoDBManager", "/v1/operations"] {
        let payload = json!({"any": ["thing"]});
        same("echo", &probe.post(path, &json!({"operation": "echo", "payload": payload}))?.expect(200)?, &payload)?;
        same("ping", &probe.post(path, &json!({"operation": "ping"}))?.expect(200)?, &json!("pong"))?;
        let zap = probe.post(path, &json!({"operation": "zap"}))?.problem(400, "unrecognized_operation")?;
        same("zap", &zap["detail"], &json!("Unrecognized operation \"zap\""))?;
    }
    Ok(())
}

fn exact(probe: &Probe) -> Outcome {
    let body = format!(
        r#"{{"operation":"create","tableName":"lambda-apigateway","payload":{{"Item":{{"id":"{}","price":78.890}}}}}}"#,
        probe.name("exact")
    );
    let created = probe.client.send("POST", "/v1/operations", &[], Some(&body))?;
    ensure!(created.status == 200 && created.text.contains("78.890"), "78.890 stays 78.890: {}", created.text);
    Ok(())
}

fn forbidden(probe: &Probe) -> Outcome {
    let body = json!({"operation": "list", "tableName": "orders", "payload": {}});
    probe.post("/order", &body)?.problem(403, "table_forbidden").map(drop)
}
