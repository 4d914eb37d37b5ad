-- A table of documents for each service: JSON under a partition key and a sort key.
CREATE TABLE catalog (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX catalog_expires ON catalog (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE TABLE basket (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX basket_expires ON basket (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE TABLE ordering (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX ordering_expires ON ordering (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- The queues. due_at_ms is null until a receive has failed; then the message waits until that time.
CREATE TABLE messages (
    queue TEXT NOT NULL, seq INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0, due_at_ms INTEGER,
    enqueued_at_ms INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (queue, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_due ON messages (queue, due_at_ms) WHERE due_at_ms IS NOT NULL;

-- Messages that could not be processed, whole, with the reason.
CREATE TABLE dead_letters (
    queue TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, receives INTEGER NOT NULL,
    enqueued_at_ms INTEGER NOT NULL, died_at_ms INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (queue, seq)
) STRICT, WITHOUT ROWID;

-- For people who open the file with SQLite's tools.
CREATE VIEW products AS
    SELECT product.body ->> 'id' AS id, product.body ->> 'name' AS name, product.body ->> 'category' AS category,
           product.body ->> '$.price.amount' AS price_minor, product.body ->> '$.price.currency' AS currency,
           stock.body ->> 'onHand' AS on_hand, stock.body ->> 'available' AS available,
           product.body ->> 'createdAt' AS created_at, product.body ->> 'updatedAt' AS updated_at
    FROM catalog AS product LEFT JOIN catalog AS stock ON stock.pk = product.pk AND stock.sk = 'STOCK'
    WHERE product.sk = 'PRODUCT';

CREATE VIEW stock_movements AS
    SELECT substr(pk, 9) AS product_id, body ->> 'kind' AS kind, body ->> 'onHand' AS on_hand,
           body ->> 'available' AS available, body ->> 'orderId' AS order_id, body ->> 'note' AS note, body ->> 'at' AS at
    FROM catalog WHERE sk GLOB 'MOVEMENT#*';

CREATE VIEW baskets AS
    SELECT body ->> 'userName' AS user_name, json_array_length(body, '$.lines') AS lines, body ->> 'updatedAt' AS updated_at
    FROM basket WHERE pk GLOB 'BASKETS#*' AND NOT body ->> 'closed';

CREATE VIEW orders AS
    SELECT body ->> 'id' AS id, body ->> 'customer' AS customer, body ->> 'status' AS status,
           body ->> '$.total.amount' AS total_minor, body ->> '$.total.currency' AS currency,
           json_array_length(body, '$.lines') AS lines, body ->> 'createdAt' AS created_at, body ->> 'updatedAt' AS updated_at
    FROM ordering WHERE sk GLOB '#ORDER#*';

CREATE VIEW order_lines AS
    SELECT ordering.body ->> 'id' AS order_id, line.value ->> 'productId' AS product_id, line.value ->> 'name' AS name,
           line.value ->> 'color' AS color, line.value ->> 'quantity' AS quantity,
           line.value ->> '$.unitPrice.amount' AS unit_price_minor
    FROM ordering, json_each(ordering.body, '$.lines') AS line WHERE ordering.sk GLOB '#ORDER#*';
