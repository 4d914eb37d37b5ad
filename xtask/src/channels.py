"""Receives the whole life of an order from the real binary: by webhooks, whose signatures the public library of Standard
Webhooks checks, and by e-mail, which a real SMTP server takes. Run by `cargo xtask channels` with the binary and an empty folder."""

import email
import email.policy
import http.server
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from aiosmtpd.controller import Controller
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PATIENCE_S = 60
LIFE = ["OrderPlaced", "OrderConfirmed", "OrderPacked", "OrderShipped", "OrderDelivered", "OrderReturned"]


class Webhooks(http.server.BaseHTTPRequestHandler):
    """Takes webhooks; answers 503 to the first of each event named in `stumbles`."""

    received, refused, stumbles = [], [], set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        event = json.loads(body)["type"]
        stumbles = event in Webhooks.stumbles
        Webhooks.stumbles.discard(event)
        (Webhooks.refused if stumbles else Webhooks.received).append((dict(self.headers.items()), body))
        self.send_response(503 if stumbles else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mails:
    """Takes mails; puts the first one off, as servers do with senders they do not know, and refuses those to nobody."""

    received, put_off = [], 0

    async def handle_DATA(self, _server, _session, envelope):
        if envelope.rcpt_tos == ["nobody@example.com"]:
            return "550 5.1.1 <Nobody@example.com> is unknown here"
        if Mails.put_off == 0:
            Mails.put_off += 1
            return "451 4.7.1 come back later"
        Mails.received.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"


class Shop:
    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def settles(self, order, status):
        wait(f"order {order} is {status}", lambda: self.ask("GET", f"/v1/orders/{order}")["status"] == status)


def wait(what, done):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)
    return found


def live(shop, user, contact):
    """An order's whole life. Returns its id."""
    product = shop.ask("POST", "/v1/products", {"name": "Töpfe & Pfannen", "price": {"amount": 1250, "currency": "USD"}, "stock": 5})
    shop.ask("POST", f"/v1/baskets/{user}/items", {"productId": product["id"], "quantity": 2})
    order = shop.ask("POST", f"/v1/baskets/{user}/checkout", contact)["orderId"]
    shop.settles(order, "CONFIRMED")
    for status in ["PACKED", "SHIPPED", "DELIVERED", "RETURNED"]:
        shop.ask("POST", f"/v1/orders/{order}/transitions", {"to": status})
    return order


def check_webhooks(shop, subscription, order):
    def theirs():
        events = [json.loads(body) for _, body in Webhooks.received]
        return [event for event in events if event["data"]["facts"].get("orderId") == order]

    wait("all webhooks of the order", lambda: {event["type"] for event in theirs()} >= set(LIFE))
    assert sorted(event["type"] for event in theirs()) == sorted(LIFE), [event["type"] for event in theirs()]
    verifier = Webhook(subscription["secret"])
    for headers, body in Webhooks.received + Webhooks.refused:
        verifier.verify(body, headers)
        try:
            verifier.verify(body + b" ", headers)
        except WebhookVerificationError:
            continue
        raise AssertionError("a body that was tampered with is taken for ours")
    assert len(Webhooks.refused) == 1, "the receiver stumbled once"
    first, again = Webhooks.refused[0], [each for each in Webhooks.received if b"OrderShipped" in each[1]]
    ids = {headers["webhook-id"] for headers, _ in [first, *again]}
    assert len(again) == 1 and len(ids) == 1, f"one webhook in every attempt: {ids}"
    shipped = wait("the log of the delivery", lambda: [
        delivery for delivery in shop.ask("GET", "/v1/deliveries?limit=100")["items"]
        if delivery["event"] == "OrderShipped" and delivery["status"] == "delivered"])
    assert [attempt["status"] for attempt in shipped[0]["attempts"]] == [503, 204], shipped


def check_rotation(shop, subscription):
    path = f"/v1/subscriptions/{subscription['id']}"
    new = shop.ask("POST", f"{path}/secret")["secret"]
    test = shop.ask("POST", f"{path}/test")
    calls = wait("the test", lambda: [each for each in Webhooks.received if each[0]["webhook-id"] == test["notificationId"]])
    for secret in [subscription["secret"], new]:
        assert Webhook(secret).verify(calls[0][1], calls[0][0])["type"] == "WebhookTest"


def check_mails(order, to):
    def theirs():
        return [mail for rcpt, mail in Mails.received if rcpt == [to] and order in mail["subject"]]

    wait("all mails of the order", lambda: len(theirs()) >= len(LIFE))
    mails = theirs()
    assert len(mails) == len(LIFE), [mail["subject"] for mail in mails]
    assert len({mail["message-id"] for mail in mails}) == len(LIFE)
    for mail in mails:
        assert mail["from"] == "The Shop <orders@shop.example>" and mail["to"] == to, mail.items()
        assert mail["auto-submitted"] == "auto-generated" and mail["message-id"].endswith("@shop.example>")
        text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
        assert "2 x Töpfe & Pfannen" in text and "2 x Töpfe &amp; Pfannen" in html, (text, html)


def check_refused(shop):
    """A mail that the server will never take is a dead letter at once, without the address; operators can read of it."""
    product = shop.ask("POST", "/v1/products", {"name": "Kettle", "price": {"amount": 100, "currency": "USD"}, "stock": 5})
    shop.ask("POST", "/v1/baskets/nobody/items", {"productId": product["id"], "quantity": 1})
    shop.ask("POST", "/v1/baskets/nobody/checkout", {"contact": {"email": "nobody@example.com"}})
    path = "/v1/queues/EmailQueue/dead-letters"
    letters = wait("two dead letters", lambda: (found := shop.ask("GET", path)["items"])[1:] and found)
    for letter in letters:
        assert letter["reason"].startswith("mail_refused: ") and "is unknown here" in letter["reason"], letter
        assert letter["receives"] == 1 and "example.com" not in json.dumps(letter).lower(), letter
    told = wait("operators are told", lambda: shop.ask("GET", "/v1/inbox")["items"])
    assert told[0]["event"] == "MessageDied" and told[0]["facts"]["code"] == "mail_refused", told
    shop.ask("POST", path + "/discard", {"all": True, "reason": "proved"})


def main(binary, folder):
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhooks)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    # aiosmtpd looks whether it can be reached before it knows its own port.
    mail_server = Controller(Mails(), hostname="127.0.0.1", port=free_port())
    mail_server.start()
    options = ["--listen", "127.0.0.1:0", "--data", folder, "--log", "error", "--webhook-allow-private",
               "--smtp-url", f"smtp://127.0.0.1:{mail_server.port}", "--email-from", "The Shop <orders@shop.example>",
               "--operator-email", "desk@shop.example"]
    server = subprocess.Popen([binary, "serve", *options], stdout=subprocess.PIPE, text=True)
    try:
        url = next(line.split("listening on")[1].strip() for line in server.stdout if "listening on" in line)
        shop, hook = Shop(url), f"http://127.0.0.1:{receiver.server_port}/shop"
        subscription = shop.ask("POST", "/v1/subscriptions", {"url": hook})
        shop.ask("POST", "/v1/customers", {"username": "ann", "email": "ann@example.com", "name": "Ann <Lee>"})
        # The server puts the first mail off; what it puts off comes again after half a minute at most.
        Webhooks.stumbles.add("OrderShipped")
        order = live(shop, "ann", {})
        check_webhooks(shop, subscription, order)
        check_rotation(shop, subscription)
        check_mails(order, "ann@example.com")
        guest = live(shop, "guest", {"contact": {"email": "guest@example.com"}})
        check_mails(guest, "guest@example.com")
        check_refused(shop)
        assert Mails.put_off == 1
        dead = [queue["name"] for queue in shop.ask("GET", "/v1/queues")["items"] if queue["dead"]]
        assert not dead, f"messages died in {dead}"
        print(f"channels: {len(Webhooks.received)} webhooks and {len(Mails.received)} mails arrived, each once")
    finally:
        server.kill()
        server.wait()
        mail_server.stop()


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


main(*sys.argv[1:])
