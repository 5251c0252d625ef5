-- database: generation
-- If seen items are masked, no list contains an item of the user's stored history that an event of a masking type masks.
-- A pair of a user and an item with a return is not checked. A generation of an earlier version has no event types.
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
history AS (
    SELECT known.user_id, known.item_id, known.event_type, coalesce(weight, 1) AS weight
    FROM (SELECT NULL::VARCHAR AS event_type) AS missing
    CROSS JOIN LATERAL (SELECT user_id, item_id, event_type FROM user_history) AS known
    LEFT JOIN type_weight ON type_weight.event_type = known.event_type
    WHERE EXISTS (SELECT 1 FROM lists)
),
seen AS (
    SELECT DISTINCT user_id, item_id FROM history
    WHERE event_type IS NULL OR (
        weight > 0 AND (NOT EXISTS (SELECT 1 FROM masking_type) OR event_type IN (SELECT event_type FROM masking_type))
    )
)
SELECT recommendation.user_id, recommendation.rank, recommendation.item_id
FROM recommendation
SEMI JOIN seen ON seen.user_id = recommendation.user_id AND seen.item_id = recommendation.item_id
ANTI JOIN (SELECT user_id, item_id FROM history WHERE weight < 0) AS returned
    ON returned.user_id = recommendation.user_id AND returned.item_id = recommendation.item_id
