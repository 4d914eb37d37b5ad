//! The environment of a function: what is missing or wrong is said in one line.

use std::collections::BTreeMap;

use cartwright::events::Queue;
use cartwright_aws::settings::{Role, Service, Settings};

fn read(changes: &[(&str, &str)]) -> Result<Settings, String> {
    let mut environment = BTreeMap::from([
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("AWS_SESSION_TOKEN", "secret-token"),
        ("PREFIX", "shop-"),
        ("ROLE", "api"),
        ("SERVICE", "catalog"),
        ("AWS_ENDPOINT_URL", ""),
    ]);
    environment.extend(changes.iter().copied());
    Settings::read(|name| environment.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn every_role_has_what_it_needs_and_defaults_for_the_rest() {
    let settings = read(&[]).unwrap();
    assert_eq!(
        (settings.role, settings.prefix.as_str()),
        (Role::Api { service: Service::Catalog, cors_origin: None }, "shop-")
    );
    assert_eq!(
        (settings.config.currency.code(), &settings.config.operation_tables[..]),
        ("USD", &["lambda-apigateway".to_owned()][..])
    );
    assert_eq!(settings.aws.endpoint_url, None, "an empty variable is none");
    assert!(settings.is_access_required, "what nobody has set is closed");
    assert!(!read(&[("ACCESS", "open")]).unwrap().is_access_required);
    assert!(read(&[("ACCESS", "opne")]).unwrap_err().contains("required or open"));
    let role = |changes: &[(&str, &str)]| read(changes).unwrap().role;
    assert_eq!(
        role(&[("ROLE", "worker"), ("QUEUE", "StockQueue")]),
        Role::Worker { queue: Queue::StockQueue, topics: None, mail: None }
    );
    assert_eq!(role(&[("ROLE", "relay"), ("EVENT_BUS", "b")]), Role::Relay { bus: "b".into() });
    assert_eq!(role(&[("ROLE", "dead-letters")]), Role::DeadLetters);
    let endpoint = "https://x.execute-api.eu-central-1.amazonaws.com/dev";
    let websocket = read(&[("ROLE", "websocket"), ("WEBSOCKET_ENDPOINT", endpoint)]).unwrap();
    assert_eq!((websocket.role, websocket.websocket_endpoint.as_deref()), (Role::WebSocket, Some(endpoint)));
    assert!(read(&[("ROLE", "websocket")]).unwrap_err().starts_with("WEBSOCKET_ENDPOINT is missing"));
    let other = read(&[
        ("CURRENCY", "eur"),
        ("OPERATION_TABLES", "a, b"),
        ("AWS_ENDPOINT_URL", "http://x"),
        ("CARTWRIGHT_LOG", "warn,cartwright=debug"),
    ])
    .unwrap();
    assert_eq!((other.config.currency.code(), other.config.operation_tables.join("|").as_str()), ("EUR", "a|b"));
    assert_eq!(other.aws.endpoint_url.as_deref(), Some("http://x"));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (changes, expected) in [
        (
            &[("AWS_LAMBDA_RUNTIME_API", "")][..],
            "AWS_LAMBDA_RUNTIME_API is missing: it must be set, as Lambda does: this program is no server",
        ),
        (&[("PREFIX", "")], "PREFIX is missing"),
        (&[("AWS_REGION", "")], "AWS_REGION is missing"),
        (&[("AWS_SECRET_ACCESS_KEY", "")], "AWS_SECRET_ACCESS_KEY is missing"),
        (&[("ROLE", "")], "ROLE is missing: it must be api, worker, relay, dead-letters or websocket"),
        (&[("ROLE", "chef")], "ROLE is \"chef\""),
        (
            &[("SERVICE", "")],
            "SERVICE is missing: it must be one of catalog, basket, ordering, purchases, operations, queues, notifications, access, site",
        ),
        (&[("SERVICE", "x")], "SERVICE is \"x\""),
        (&[("CORS_ORIGIN", "a\nb")], "CORS_ORIGIN is \"a\\nb\""),
        (&[("ROLE", "worker")], "QUEUE is missing: it must be one of OrderQueue, "),
        (&[("ROLE", "worker"), ("QUEUE", "x")], "QUEUE is \"x\""),
        (&[("ROLE", "worker"), ("QUEUE", "EmailQueue"), ("SMTP_URL", "smtp://x")], "EMAIL_FROM is missing"),
        (&[("ROLE", "relay")], "EVENT_BUS is missing"),
        (&[("ROLE", "worker"), ("QUEUE", "NotificationQueue")], "CUSTOMER_TOPIC_ARN is missing"),
        (
            &[("ROLE", "worker"), ("QUEUE", "NotificationQueue"), ("CUSTOMER_TOPIC_ARN", "a")],
            "OPERATOR_TOPIC_ARN is missing",
        ),
        (&[("CURRENCY", "DOUBLOON")], "CURRENCY is \"DOUBLOON\": it must be an ISO 4217 code"),
        (&[("METRICS", "some")], "METRICS is \"some\": it must be on or off"),
        (&[("CARTWRIGHT_LOG", "loud=very")], "CARTWRIGHT_LOG is \"loud=very\""),
    ] {
        let why = read(changes).unwrap_err();
        assert!(why.starts_with(expected) && why.lines().count() == 1, "{why}");
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let mail = [
        ("ROLE", "worker"),
        ("QUEUE", "EmailQueue"),
        ("SMTP_URL", "smtps://u:secret@x"),
        ("EMAIL_FROM", "a@b.example"),
    ];
    let mailing = format!("{:?}", read(&mail).unwrap());
    assert!(mailing.contains("a@b.example") && !mailing.contains("secret"), "{mailing}");
    let shown = format!("{:?}", read(&[]).unwrap());
    assert!(shown.contains("eu-central-1") && !shown.contains("secret"), "{shown}");
}
