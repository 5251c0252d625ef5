-- database: warehouse.duckdb
-- The tables of the warehouse: inputs, runs, codes and metrics. The program that inserts a row chooses its id, so no column
-- is auto-incremented.
CREATE TABLE item (
    item_id VARCHAR NOT NULL PRIMARY KEY,
    item_index INTEGER NOT NULL UNIQUE, -- from 0 without gaps, never reused
    title VARCHAR,
    description VARCHAR,
    brand VARCHAR,
    categories VARCHAR[],
    attributes JSON,
    in_core BOOLEAN, -- whether the item is in the k-core, as the last training stage computed it
    is_available BOOLEAN NOT NULL DEFAULT true,
    removed_at TIMESTAMP
);
CREATE TABLE user_account (
    user_id VARCHAR NOT NULL PRIMARY KEY,
    user_index INTEGER NOT NULL UNIQUE, -- from 0 without gaps, never reused
    in_core BOOLEAN
);
CREATE TABLE interaction (
    user_id VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    event_time TIMESTAMP,
    source_position BIGINT,
    position INTEGER NOT NULL, -- from 0 without gaps in each user's sequence
    rating DOUBLE,
    query VARCHAR
);
CREATE TABLE project_setting ( -- choices that the first ingest makes for all later ones
    name VARCHAR NOT NULL PRIMARY KEY, -- 'order_by': 'source_position', 'event_time' or 'file'
    value VARCHAR NOT NULL
);
CREATE TABLE run (
    run_id VARCHAR NOT NULL PRIMARY KEY,
    stage VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('running', 'finished', 'failed')),
    settings JSON NOT NULL,
    inputs JSON NOT NULL, -- array of the ids of the runs that this run read
    fingerprint VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL, -- UTC
    finished_at TIMESTAMP,
    artifact_path VARCHAR NOT NULL, -- relative to the project folder
    version VARCHAR NOT NULL,
    error VARCHAR
);
CREATE TABLE item_embedding (
    run_id VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    vector_source VARCHAR NOT NULL,
    vector FLOAT[] NOT NULL -- a check requires the same length for all vectors of a run
);
CREATE TABLE user_embedding (
    run_id VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL,
    vector_source VARCHAR NOT NULL,
    vector FLOAT[] NOT NULL
);
CREATE TABLE codebook_vector (
    run_id VARCHAR NOT NULL,
    level INTEGER NOT NULL,
    code INTEGER NOT NULL,
    vector FLOAT[] NOT NULL
);
CREATE TABLE item_code (
    run_id VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    codes USMALLINT[] NOT NULL,
    semantic_id VARCHAR NOT NULL, -- '<a_17><b_203><c_4><d_99>'
    vector_source VARCHAR NOT NULL,
    code_set_run_id VARCHAR NOT NULL,
    is_reassigned BOOLEAN NOT NULL
);
CREATE TABLE metric (
    run_id VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    segment VARCHAR NOT NULL,
    train_cut VARCHAR NOT NULL,
    seen VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    k INTEGER,
    value DOUBLE NOT NULL,
    ci_low DOUBLE,
    ci_high DOUBLE,
    num_users BIGINT NOT NULL,
    protocol JSON NOT NULL
);
CREATE TABLE generation (
    generation BIGINT NOT NULL PRIMARY KEY,
    run_ids JSON NOT NULL, -- {"recommend": ..., "codebook": ..., ...}: the runs from which the generation was computed
    status VARCHAR NOT NULL CHECK (status IN ('built', 'published', 'pruned')),
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE publication ( -- which generation was published when; rows are never changed
    publication BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    published_at TIMESTAMP NOT NULL -- later in each row than in the row before; the event_timestamp of Feast
);
