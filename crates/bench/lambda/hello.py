"""A function in Python that says hello, with the AWS SDK loaded as most functions have it."""

import http.client
import json
import os

import boto3

dynamodb = boto3.client("dynamodb")
runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def handler(event, client):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps({"path": event["path"]})}


while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = runtime.getresponse()
    event = json.loads(answer.read())
    body = json.dumps(handler(event, dynamodb))
    request_id = answer.headers["lambda-runtime-aws-request-id"]
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body)
    runtime.getresponse().read()
