-- Purchases that were made elsewhere, and free-form items.
CREATE TABLE purchases (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX purchases_expires ON purchases (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE TABLE operations (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX operations_expires ON operations (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- For people who open the file with SQLite's tools.
CREATE VIEW product_purchases AS
    SELECT substr(pk, 10) AS id, body ->> '$.applied.action' AS action, body ->> '$.applied.version' AS version,
           body ->> '$.applied.purchase.productId' AS product_id, body ->> '$.applied.purchase.productName' AS product_name,
           body ->> '$.applied.purchase.category' AS category,
           body ->> '$.applied.purchase.unitPrice.amount' AS unit_price_minor,
           body ->> '$.applied.purchase.quantity' AS quantity, body ->> '$.applied.purchase.total.amount' AS total_minor,
           body ->> '$.applied.purchase.total.currency' AS currency,
           body ->> '$.applied.purchase.customerId' AS customer_id,
           body ->> '$.applied.purchase.customerName' AS customer_name,
           body ->> '$.applied.purchase.purchasedAt' AS purchased_at
    FROM purchases WHERE sk = 'RECORD' AND body ->> '$.applied.purchase' IS NOT NULL;
