-- Who may do what and who did; who is told what.
CREATE TABLE access (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_expires ON access (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

CREATE TABLE notifications (
    pk TEXT NOT NULL, sk TEXT NOT NULL, version INTEGER NOT NULL, expires_at_ms INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_expires ON notifications (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
