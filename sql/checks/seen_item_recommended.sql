-- database: generation or publish. The program writes user_history, or warehouse.interaction for a publish, in place of $events.
-- If seen items are masked, no list contains an item that an event of the user masks.
-- A pair of a user and an item with a return is not checked. A generation of an earlier version has no event types.
-- Comparing the hashes of (user, item) pairs first takes a fraction of the memory that comparing the pairs takes.
WITH lists AS (
    SELECT settings FROM run
    WHERE stage = 'recommend' AND settings ->> '$.recommend.seen' = 'masked'
      AND coalesce((settings ->> '$.recommend.seen_days')::DOUBLE, 0) = 0 -- otherwise an item is seen for some days only
    ORDER BY coalesce(settings ->> '$.split', '') = 'serve' DESC
    LIMIT 1
),
type_weight AS (
    SELECT entry ->> 0 AS event_type, (entry ->> 1)::DOUBLE AS weight
    FROM (SELECT unnest(from_json(json_extract(settings, '$.events.weights'), '["JSON"]')) AS entry FROM lists)
),
masking_type AS (
    SELECT unnest(coalesce(
        from_json(json_extract(settings, '$.recommend.seen_types'), '["VARCHAR"]'), from_json(json_extract(settings, '$.events.targets'), '["VARCHAR"]')
    )) AS event_type
    FROM lists
),
suspect AS (
    SELECT * FROM recommendation
    WHERE EXISTS (SELECT 1 FROM lists)
      AND hash(user_id, item_id) IN (SELECT hash(user_id, item_id) FROM $events)
),
event AS (
    SELECT known.user_id, known.item_id, known.event_type, coalesce(weight, 1) AS weight
    FROM (SELECT NULL::VARCHAR AS event_type) AS missing -- read if the table has no column event_type
    CROSS JOIN LATERAL (SELECT user_id, item_id, event_type FROM $events) AS known
    SEMI JOIN suspect ON suspect.user_id = known.user_id AND suspect.item_id = known.item_id
    LEFT JOIN type_weight ON type_weight.event_type = known.event_type
),
seen AS (
    SELECT DISTINCT user_id, item_id FROM event
    WHERE event_type IS NULL OR (
        weight > 0 AND (NOT EXISTS (SELECT 1 FROM masking_type) OR event_type IN (SELECT event_type FROM masking_type))
    )
)
SELECT suspect.user_id, suspect.rank, suspect.item_id
FROM suspect
SEMI JOIN seen ON seen.user_id = suspect.user_id AND seen.item_id = suspect.item_id
ANTI JOIN (SELECT user_id, item_id FROM event WHERE weight < 0) AS returned
    ON returned.user_id = suspect.user_id AND returned.item_id = suspect.item_id
