//! The alarms of the template: each on a metric that AWS has, of a thing that is there, and heard by the operators.

use std::collections::BTreeSet;

use cartwright::events::Queue;
use cartwright::store::Table;
use cartwright_aws::alarms::{ALARMS, of_cloudwatch};
use serde_json::{Value, json};

use super::read::Template;

/// Metrics that AWS publishes, and the dimensions it publishes them under.
const METRICS: [(&str, &str, &[&str]); 15] = [
    ("AWS/Lambda", "Errors", &["FunctionName"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    ("AWS/Lambda", "Duration", &["FunctionName"]),
    ("AWS/Lambda", "IteratorAge", &["FunctionName"]),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", &["QueueName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
    ("AWS/SQS", "NumberOfMessagesReceived", &["QueueName"]),
    ("AWS/SQS", "NumberOfMessagesSent", &["QueueName"]),
    ("AWS/DynamoDB", "ReadThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"]),
    ("AWS/DynamoDB", "SystemErrors", &["TableName", "Operation"]),
    ("AWS/EventBridge/Pipes", "ExecutionFailed", &["PipeName"]),
    ("AWS/ApiGateway", "5XXError", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "Latency", &["ApiName", "Stage"]),
    ("AWS/ApiGateway", "IntegrationError", &["ApiId", "Stage"]),
];

/// The resource that a dimension names.
fn named(value: &Value) -> Option<&str> {
    value.get("Ref").or_else(|| value.get("Fn::GetAtt")?.get(0)).and_then(Value::as_str)
}

#[test]
fn every_alarm_is_on_a_metric_that_exists_and_reaches_the_operators() {
    let template = Template::read();
    for (id, alarm) in template.all("AWS::CloudWatch::Alarm") {
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm[actions], json!([{"Ref": "OperatorTopic"}]), "{id}");
        }
        let dimensions = alarm["Dimensions"].as_array().unwrap();
        let names: Vec<_> = dimensions.iter().map(|dimension| dimension["Name"].as_str().unwrap()).collect();
        let (namespace, metric) = (alarm["Namespace"].as_str().unwrap(), alarm["MetricName"].as_str().unwrap());
        assert!(METRICS.contains(&(namespace, metric, &names)), "{id}: AWS has no {namespace} {metric} by {names:?}");
        let expected = match names[0] {
            "FunctionName" => "AWS::Serverless::Function",
            "QueueName" => "AWS::SQS::Queue",
            "TableName" => "AWS::DynamoDB::Table",
            "PipeName" => "AWS::Pipes::Pipe",
            "ApiId" => "AWS::ApiGatewayV2::Api",
            _ => {
                assert_eq!(
                    (&dimensions[0]["Value"], &dimensions[1]["Value"]),
                    (&json!("shop"), &json!("prod")),
                    "{id}"
                );
                continue;
            }
        };
        let resource = named(&dimensions[0]["Value"]).unwrap_or_else(|| panic!("{id} watches nothing of the stack"));
        template.properties(resource, expected);
    }
    assert_eq!(template.properties("Api", "AWS::Serverless::Api")["Name"], "shop");
}

#[test]
fn everything_that_can_go_wrong_is_watched() {
    let template = Template::read();
    let watched: BTreeSet<(&str, &str)> = template
        .all("AWS::CloudWatch::Alarm")
        .map(|(_, alarm)| {
            let resource = named(&alarm["Dimensions"][0]["Value"]).unwrap_or("Api");
            (resource, alarm["MetricName"].as_str().unwrap())
        })
        .collect();
    let mut expected = vec![
        ("Api".to_owned(), "5XXError"),
        ("Api".to_owned(), "Latency"),
        ("SocketApi".to_owned(), "IntegrationError"),
        ("OrderQueue".to_owned(), "NumberOfMessagesSent"),
        ("Relay".to_owned(), "IteratorAge"),
        ("Unrelayed".to_owned(), "ApproximateNumberOfMessagesVisible"),
        ("Undelivered".to_owned(), "ApproximateNumberOfMessagesVisible"),
    ];
    for (function, _) in template.all("AWS::Serverless::Function") {
        expected.extend(["Errors", "Throttles", "Duration"].map(|metric| (function.to_owned(), metric)));
    }
    for queue in Queue::ALL.map(Queue::name) {
        expected.push((queue.to_owned(), "ApproximateAgeOfOldestMessage"));
        let dead = format!("{queue}Dead");
        expected
            .extend(["ApproximateAgeOfOldestMessage", "NumberOfMessagesReceived"].map(|metric| (dead.clone(), metric)));
    }
    for table in Table::ALL.map(Table::name) {
        let name = format!("{}{}", table[..1].to_ascii_uppercase(), &table[1..]);
        let metrics = ["ReadThrottleEvents", "WriteThrottleEvents", "SystemErrors"];
        expected.extend(metrics.map(|metric| (format!("{name}Table"), metric)));
        expected.push((format!("{name}Pipe"), "ExecutionFailed"));
    }
    for (resource, metric) in expected {
        assert!(watched.contains(&(resource.as_str(), metric)), "no alarm watches {metric} of {resource}");
    }
}

#[test]
fn every_alarm_is_a_row_of_the_table_that_both_homes_share_with_the_limit_it_has_there() {
    let (template, mut rung) = (Template::read(), BTreeSet::new());
    for (id, alarm) in template.all("AWS::CloudWatch::Alarm") {
        let metric = alarm["MetricName"].as_str().unwrap();
        let (row, cloudwatch) = of_cloudwatch(id, metric).unwrap_or_else(|| panic!("{id} on {metric} is in no row"));
        assert_eq!(alarm["Threshold"].to_string(), cloudwatch.threshold, "{id}");
        rung.insert((row.name, cloudwatch.ends_in));
    }
    for row in ALARMS {
        for cloudwatch in row.cloudwatch {
            assert!(rung.contains(&(row.name, cloudwatch.ends_in)), "no alarm of the template is {}", row.name);
            let in_millis = format!("{}000", row.limit);
            let is_same = cloudwatch.threshold == row.limit || cloudwatch.threshold == in_millis;
            assert!(is_same || row.prometheus.is_none(), "{}: {} and {}", row.name, row.limit, cloudwatch.threshold);
        }
    }
}
