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
