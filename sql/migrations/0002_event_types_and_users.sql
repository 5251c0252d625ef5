-- database: warehouse.duckdb
-- Types of events, and profiles of users. Events that are stored already have no type.
ALTER TABLE interaction ADD COLUMN event_type VARCHAR; -- such as 'view', 'cart', 'purchase' or 'return'
CREATE TABLE user_profile (
    user_id VARCHAR NOT NULL PRIMARY KEY,
    market VARCHAR,
    attributes JSON
);
