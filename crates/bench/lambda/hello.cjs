// A function in Node that says hello, with the AWS SDK loaded as most functions have it.
const http = require("node:http");
const { DynamoDBClient } = require("@aws-sdk/client-dynamodb");

const client = new DynamoDBClient({});
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const request = http.request({ host, port, method, agent, headers, path: "/2018-06-01/runtime/" + path }, (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part));
      answer.on("end", () => resolve({ id: answer.headers["lambda-runtime-aws-request-id"], text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function handler(event) {
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ path: event.path }) };
}

(async () => {
  for (;;) {
    const { id, text } = await ask("GET", "invocation/next");
    const answer = await handler(JSON.parse(text), client);
    await ask("POST", `invocation/${id}/response`, JSON.stringify(answer));
  }
})();
