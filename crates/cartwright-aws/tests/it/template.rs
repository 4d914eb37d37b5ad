//! The template against the code: whatever an event, a queue, a route or a table of the application needs on AWS is there,
//! and nothing else is.

mod alarms;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use cartwright::events::{Queue, RULES};
use cartwright::store::Table;
use http::Method;
use serde_json::{Value, json};

use read::{Template, get_att};

/// Most resources of a stack: CloudFormation's limit.
const MAX_RESOURCES: usize = 500;
/// What SAM makes of the one API: itself, its deployment, its stage.
const RESOURCES_OF_AN_API: usize = 3;
/// How long a message is kept at most, in seconds: SQS's limit.
const FOURTEEN_DAYS: u64 = 14 * 24 * 3600;

fn statements(policy: &Value) -> Vec<Value> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let unconditional = |statement: &Value| match statement.get("Fn::If") {
        Some(branches) => branches[1].clone(),
        None => statement.clone(),
    };
    statements.map(unconditional).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The mapping that brings what `source` holds to `function`.
fn mapping<'a>(template: &'a Template, function: &str, source: &Value) -> &'a Value {
    let found = template.all("AWS::Lambda::EventSourceMapping").find(|(_, mapping)| {
        mapping["FunctionName"] == json!({"Ref": function}) && &mapping["EventSourceArn"] == source
    });
    found.unwrap_or_else(|| panic!("nothing brings {source} to {function}")).1
}

#[test]
fn every_queue_has_its_dead_letter_queue_and_its_worker_and_there_is_no_other() {
    let template = Template::read();
    let mut expected = BTreeSet::from(["shop-Unrelayed".to_owned(), "shop-Undelivered".to_owned()]);
    for queue in Queue::ALL.map(Queue::name) {
        let (dead, worker) = (format!("{queue}Dead"), format!("{queue}Worker"));
        let main = template.properties(queue, "AWS::SQS::Queue");
        expected.extend([format!("shop-{queue}"), format!("shop-{queue}-dead")]);
        assert_eq!(main["QueueName"], format!("shop-{queue}"));
        assert_eq!(main["RedrivePolicy"]["deadLetterTargetArn"], get_att(&dead, "Arn"));
        let receives = Queue::named(queue).unwrap().retries().max_receives();
        assert_eq!(main["RedrivePolicy"]["maxReceiveCount"], receives, "{queue}");

        let letters = template.properties(&dead, "AWS::SQS::Queue");
        assert_eq!(letters["QueueName"], format!("shop-{queue}-dead"));
        assert_eq!(letters["RedriveAllowPolicy"]["redrivePermission"], "byQueue");
        let arn = format!("arn:aws:sqs:eu-central-1:123456789012:shop-{queue}");
        assert_eq!(letters["RedriveAllowPolicy"]["sourceQueueArns"], json!([arn]));

        for (queue, function) in [(queue, worker.as_str()), (&dead, "DeadLetters")] {
            let messages = mapping(&template, function, &get_att(queue, "Arn"));
            assert_eq!(messages["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]), "{queue}");
            let timeout = template.properties(function, "AWS::Serverless::Function")["Timeout"].as_u64().unwrap();
            let hidden = template.properties(queue, "AWS::SQS::Queue")["VisibilityTimeout"].as_u64().unwrap();
            assert!(
                hidden >= 6 * timeout,
                "{queue} hides messages for {hidden} s; Lambda asks for six times {timeout}"
            );
        }
        let variables = &template.properties(&worker, "AWS::Serverless::Function")["Environment"]["Variables"];
        assert_eq!((&variables["ROLE"], &variables["QUEUE"]), (&json!("worker"), &json!(queue)));
        let knows_server = variables.get("SMTP_URL").is_some();
        assert_eq!(knows_server, queue == "EmailQueue", "who knows the password of the mail server: {worker}");
    }
    let mut there = BTreeSet::new();
    for (id, queue) in template.all("AWS::SQS::Queue") {
        assert_eq!(queue["SqsManagedSseEnabled"], true, "{id}");
        assert_eq!(queue["MessageRetentionPeriod"], FOURTEEN_DAYS, "{id}");
        there.insert(queue["QueueName"].as_str().unwrap().to_owned());
    }
    assert_eq!(there, expected);
}

#[test]
fn the_rules_of_the_bus_are_those_of_the_code() {
    let template = Template::read();
    let mut expected = BTreeSet::new();
    for rule in RULES {
        expected.extend(rule.queues.iter().map(|queue| (rule.source, rule.detail_type, queue.name())));
    }
    let mut there = BTreeSet::new();
    for (id, rule) in template.all("AWS::Events::Rule") {
        let pattern = rule["EventPattern"].as_object().unwrap();
        assert_eq!(pattern.keys().collect::<Vec<_>>(), ["detail-type", "source"], "{id}");
        let only = |name: &str| match list(&pattern[name]).as_slice() {
            [Value::String(only)] => only.clone(),
            other => panic!("{id} matches {other:?}"),
        };
        let targets = rule["Targets"].as_array().unwrap();
        assert_eq!(targets.len(), 1, "{id}");
        assert_eq!(targets[0]["DeadLetterConfig"]["Arn"], get_att("Undelivered", "Arn"), "{id}");
        let target = targets[0]["Arn"]["Fn::GetAtt"][0].as_str().unwrap().to_owned();
        assert_eq!(rule["EventBusName"], json!({"Ref": "Bus"}), "{id}");
        assert!(there.insert((only("source"), only("detail-type"), target)), "{id} is there twice");
    }
    let there: BTreeSet<_> = there.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
    assert_eq!(there, expected);
    for queue in Queue::ALL.map(Queue::name) {
        let policy = template.properties(&format!("{queue}Policy"), "AWS::SQS::QueuePolicy");
        let statement = &statements(&policy["PolicyDocument"])[0];
        assert_eq!(statement["Principal"]["Service"], "events.amazonaws.com");
        assert_eq!(statement["Resource"], get_att(queue, "Arn"));
        let rules = "arn:aws:events:eu-central-1:123456789012:rule/SwnEventBus/*";
        assert_eq!(statement["Condition"]["ArnLike"]["aws:SourceArn"], rules);
    }
}

/// Which function is to answer: that whose tables the route needs.
fn function_for(method: &Method, path: &str) -> &'static str {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    match path.split('/').nth(1).unwrap_or_default() {
        "products" | "categories" | "product" => "CatalogApi",
        "baskets" | "basket" => "BasketApi",
        "order" if method == Method::POST => "OperationsApi",
        "orders" | "order" | "customers" | "users" | "add_user" | "edit-address" | "feed" => "OrderingApi",
        "purchases" | "product-purchase" => "PurchasesApi",
        "operations" | "DynamoDBManager" => "OperationsApi",
        "queues" | "events" => "QueuesApi",
        "inbox" | "subscriptions" | "deliveries" => "NotificationsApi",
        "me" | "api-keys" | "audit" => "AccessApi",
        _ => "SiteApi",
    }
}

/// The path of the API that API Gateway chooses: the path itself, or the longest one it is below.
fn resource_for<'a>(paths: &'a BTreeMap<&str, &Value>, path: &str) -> Option<&'a Value> {
    let below = |candidate: &str| {
        candidate.strip_suffix("{proxy+}").is_some_and(|stem| path.len() > stem.len() && path.starts_with(stem))
    };
    let exact = paths.get(path).copied();
    exact.or_else(|| {
        let candidates = paths.iter().filter(|(candidate, _)| below(candidate));
        candidates.max_by_key(|(candidate, _)| candidate.len()).map(|(_, resource)| *resource)
    })
}

#[test]
fn every_route_reaches_the_function_that_may_touch_its_tables() {
    let template = Template::read();
    let api = template.properties("Api", "AWS::Serverless::Api");
    let paths = api["DefinitionBody"]["paths"].as_object().unwrap();
    let paths: BTreeMap<&str, &Value> = paths.iter().map(|(path, methods)| (path.as_str(), methods)).collect();
    let mut routes = cartwright::api::table();
    assert!(routes.len() > 60);
    let site = [
        "/",
        "/desk",
        "/web/0123456789abcdef/base.css",
        "/web/0123456789abcdef/lib/api.js",
        "/health",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui.css",
        "/no/such/path",
        "/v1",
        "/v1/nothing",
    ];
    routes.extend(site.map(|path| (Method::GET, path)));
    for (method, path) in routes {
        let resource = resource_for(&paths, path).unwrap_or_else(|| panic!("nothing answers {path}"));
        let operation = &resource[method.as_str().to_ascii_lowercase()];
        let uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].as_str();
        let uri = uri.unwrap_or_else(|| panic!("nothing answers {method} {path}"));
        let function = function_for(&method, path);
        assert!(uri.ends_with(&format!("/functions/${{{function}.Arn}}/invocations")), "{method} {path}: {uri}");
        assert_eq!(operation.get("security").is_none(), function == "SiteApi", "who needs a key: {method} {path}");
    }
    let methods = ["delete", "get", "head", "patch", "post", "put"];
    for (path, resource) in paths {
        let there: Vec<_> = resource.as_object().unwrap().keys().collect();
        assert_eq!(there, methods, "{path} leaves a method to API Gateway, which answers 403");
    }
}

#[test]
fn every_function_has_a_role_of_its_own_a_log_with_an_end_and_the_settings_it_reads() {
    let template = Template::read();
    let mut roles = BTreeSet::new();
    let services =
        ["catalog", "basket", "ordering", "purchases", "operations", "queues", "notifications", "access", "site"];
    let mut served = BTreeSet::new();
    for (id, function) in template.all("AWS::Serverless::Function") {
        let role = function["Role"]["Fn::GetAtt"][0].as_str().unwrap();
        assert!(roles.insert(role), "{id} shares its role");
        template.properties(role, "AWS::IAM::Role");
        let log = function["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap();
        let log = template.properties(log, "AWS::Logs::LogGroup");
        assert_eq!(log["LogGroupName"], format!("/aws/lambda/{}", function["FunctionName"].as_str().unwrap()));
        assert_eq!((&function["Runtime"], &function["Handler"]), (&json!("provided.al2023"), &json!("bootstrap")));
        assert_eq!(function["Tracing"], "Active");
        let variables = &function["Environment"]["Variables"];
        assert_eq!(variables["PREFIX"], "shop-");
        assert_eq!(variables["SSL_CERT_FILE"], "/var/task/amazon-roots.pem");
        match variables["ROLE"].as_str().unwrap() {
            "api" => {
                served.insert(variables["SERVICE"].as_str().unwrap());
                let permission = template.properties(&format!("{id}Permission"), "AWS::Lambda::Permission");
                assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
                let timeout = function["Timeout"].as_u64().unwrap();
                assert!(timeout <= 29, "API Gateway waits 29 s, not {timeout}");
            }
            "worker" => assert!(id.ends_with("QueueWorker")),
            "relay" => assert_eq!(variables["EVENT_BUS"], json!({"Ref": "Bus"})),
            "dead-letters" => assert_eq!(id, "DeadLetters"),
            "websocket" => assert_eq!(id, "WebSocket"),
            other => panic!("{id} has the role {other}"),
        }
    }
    assert_eq!(served, BTreeSet::from(services));
    for (id, log) in template.all("AWS::Logs::LogGroup") {
        assert!(log["RetentionInDays"].is_u64(), "{id} is kept for ever");
    }
}

#[test]
fn whatever_happens_on_a_socket_reaches_its_function_and_who_records_something_may_tell_sockets() {
    let template = Template::read();
    let api = template.properties("SocketApi", "AWS::ApiGatewayV2::Api");
    assert_eq!(
        (&api["ProtocolType"], &api["RouteSelectionExpression"]),
        (&json!("WEBSOCKET"), &json!("$request.body.action"))
    );
    let keys: BTreeSet<_> =
        template.all("AWS::ApiGatewayV2::Route").map(|(_, route)| route["RouteKey"].as_str().unwrap()).collect();
    assert_eq!(keys, BTreeSet::from(["$connect", "$default", "$disconnect"]));
    for (id, route) in template.all("AWS::ApiGatewayV2::Route") {
        assert_eq!(route["Target"], json!({"Fn::Sub": "integrations/${SocketIntegration}"}), "{id}");
    }
    let integration = template.properties("SocketIntegration", "AWS::ApiGatewayV2::Integration");
    let uri = integration["IntegrationUri"]["Fn::Sub"].as_str().unwrap();
    assert!(uri.ends_with("/functions/${WebSocket.Arn}/invocations"), "{uri}");
    let permission = template.properties("WebSocketPermission", "AWS::Lambda::Permission");
    assert_eq!(permission["FunctionName"], json!({"Ref": "WebSocket"}));
    let roles = list(&template.properties("TellsSockets", "AWS::IAM::Policy")["Roles"]);
    for role in ["NotificationQueueRole", "WebhookQueueRole", "DeadLettersRole", "WebSocketRole"] {
        assert!(roles.contains(&json!({"Ref": role})), "{role} cannot tell sockets");
    }
}

/// Actions that AWS lets nobody narrow to a resource.
const UNBOUND: [&str; 3] = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "dynamodb:ListStreams"];

#[test]
fn no_policy_allows_more_than_is_named() {
    let template = Template::read();
    let mut policies = Vec::new();
    for (id, role) in template.all("AWS::IAM::Role") {
        policies.extend(role["Policies"].as_array().into_iter().flatten().map(|policy| (id, policy)));
    }
    policies.extend(template.all("AWS::IAM::Policy"));
    assert!(policies.len() > 30);
    for (id, policy) in policies {
        for statement in statements(&policy["PolicyDocument"]) {
            let actions = list(&statement["Action"]);
            let unbound = actions.iter().all(|action| UNBOUND.contains(&action.as_str().unwrap()));
            for resource in list(&statement["Resource"]) {
                assert_eq!(resource == "*", unbound, "{id} allows {actions:?} on {resource}");
            }
            assert!(actions.iter().all(|action| !action.as_str().unwrap().contains('*')), "{id} allows {actions:?}");
            assert!(statement.get("NotAction").is_none() && statement.get("NotResource").is_none(), "{id}");
        }
    }
}

#[test]
fn tables_are_encrypted_recoverable_expiring_streamed_and_kept_in_prod() {
    let template = Template::read();
    let outbox =
        json!([{"Pattern": r##"{"eventName":["INSERT"],"dynamodb":{"Keys":{"PK":{"S":[{"prefix":"OUTBOX#"}]}}}}"##}]);
    let mut there = BTreeSet::new();
    for (id, table) in template.all("AWS::DynamoDB::Table") {
        there.insert(table["TableName"].as_str().unwrap());
        assert_eq!(table["SSESpecification"]["SSEEnabled"], true, "{id}");
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true, "{id}");
        assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "ttl", "Enabled": true}), "{id}");
        assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_IMAGE", "{id}");
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST", "{id}");
        assert_eq!(table["DeletionProtectionEnabled"], true, "{id}");
        let resource = &template.resources[id];
        assert_eq!(
            (&resource["DeletionPolicy"], &resource["UpdateReplacePolicy"]),
            (&json!("Retain"), &json!("Retain"))
        );

        let stream = get_att(id, "StreamArn");
        let by_mapping = mapping(&template, "Relay", &stream);
        assert_eq!(by_mapping["FilterCriteria"]["Filters"], outbox);
        assert_eq!(by_mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        assert_eq!(by_mapping["DestinationConfig"]["OnFailure"]["Destination"], get_att("Unrelayed", "Arn"));
        let pipe = template.all("AWS::Pipes::Pipe").find(|(_, pipe)| pipe["Source"] == stream);
        let (_, pipe) = pipe.unwrap_or_else(|| panic!("no pipe takes the stream of {id}"));
        assert_eq!(pipe["Target"], get_att("Relay", "Arn"));
        let source = &pipe["SourceParameters"];
        assert_eq!(source["FilterCriteria"]["Filters"], outbox);
        assert_eq!(source["DynamoDBStreamParameters"]["DeadLetterConfig"]["Arn"], get_att("Unrelayed", "Arn"));
        assert_eq!(source["DynamoDBStreamParameters"]["OnPartialBatchItemFailure"], "AUTOMATIC_BISECT");
    }
    let expected: Vec<_> = Table::ALL.iter().map(|table| format!("shop-{}", table.name())).collect();
    assert_eq!(there, expected.iter().map(String::as_str).collect());
}

#[test]
fn what_mappings_list_is_looped_over() {
    let template = Template::read();
    let keys = |name: &str| -> BTreeSet<_> {
        template.mappings[name].as_object().unwrap().keys().map(String::as_str).collect()
    };
    let ids = |kind: &str| -> BTreeSet<_> { template.all(kind).map(|(id, _)| id).collect() };
    assert_eq!(keys("BusRules"), ids("AWS::Events::Rule"));
    let grants = keys("Grants");
    assert!(grants.is_subset(&ids("AWS::IAM::Policy")));
    for (id, policy) in template.all("AWS::IAM::Policy").filter(|(id, _)| grants.contains(id)) {
        let grant = &template.mappings["Grants"][id];
        template.properties(policy["Roles"][0]["Ref"].as_str().unwrap(), "AWS::IAM::Role");
        assert_eq!(
            policy["PolicyDocument"]["Statement"][0]["Resource"],
            get_att(grant["Table"].as_str().unwrap(), "Arn")
        );
    }
}

#[test]
fn no_loop_is_called_like_another_or_like_a_resource() {
    let template = Template::read();
    let mut names = BTreeSet::new();
    for name in &template.loops {
        assert!(names.insert(name) && !template.resources.contains_key(name), "there are two things called {name}");
    }
    assert!(names.len() > 30);
}

#[test]
fn parameters_outputs_and_the_access_log_are_what_was_promised() {
    let template = Template::read();
    assert_eq!(template.parameters["StageName"]["AllowedValues"], json!(["dev", "qa", "staging", "prod"]));
    for parameter in ["DomainName", "HostedZoneId", "AccessLogGroup", "EventBusName", "Architecture", "EndpointUrl"] {
        assert!(template.parameters[parameter].is_object(), "{parameter}");
    }
    assert_eq!(template.parameters["EventBusName"]["Default"], cartwright::events::BUS);
    for output in [
        "WebSocketUrl",
        "ProductPurchaseApi",
        "CustomDomainUrl",
        "ApiUrl",
        "EventBus",
        "CatalogTableName",
        "OrderQueueUrl",
    ] {
        assert!(template.outputs.contains_key(output), "{output}");
    }
    let api = template.properties("Api", "AWS::Serverless::Api");
    let format = api["AccessLogSetting"]["Format"].as_str().unwrap();
    let format: Value = serde_json::from_str(format).unwrap();
    for field in [
        "requestId",
        "ip",
        "caller",
        "user",
        "requestTime",
        "httpMethod",
        "resourcePath",
        "status",
        "protocol",
        "responseLength",
    ] {
        assert!(format[field].as_str().is_some_and(|field| field.starts_with("$context.")), "{field}");
    }
    for (kind, response) in api["GatewayResponses"].as_object().unwrap() {
        let problem = response["ResponseTemplates"]["application/json"].as_str().unwrap();
        let problem = problem.replace("$context.error.messageString", "\"\"");
        let problem: Value = serde_json::from_str(&problem).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(problem.get("status"), response.get("StatusCode"), "{kind}");
        assert!(
            problem["code"].is_string() && problem["title"].is_string() && problem["requestId"].is_string(),
            "{kind}"
        );
    }
    assert_eq!(template.properties("Domain", "AWS::ApiGateway::DomainName")["SecurityPolicy"], "TLS_1_2");
}

#[test]
fn the_stack_fits_into_what_cloudformation_takes() {
    let count = Template::read().resources.len() + RESOURCES_OF_AN_API;
    assert!(count < MAX_RESOURCES, "{count} resources");
}
