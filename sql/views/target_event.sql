-- database: generation
-- This view has the events of user_history that a list can predict: purchases, if the setting events.targets is ["purchase"].
-- An event without a type counts. A purchase that a later return undoes does not count. Nor does a weaker event on an item
-- of which no purchase is left. The rules are those under which the lists were made.
CREATE VIEW target_event AS
WITH lists AS (
    SELECT settings FROM run WHERE stage = 'recommend' ORDER BY coalesce(settings ->> '$.split', '') = 'serve' DESC LIMIT 1
),
type_weight AS (
    SELECT entry ->> 0 AS event_type, (entry ->> 1)::DOUBLE AS weight
    FROM (SELECT unnest(from_json(json_extract(settings, '$.events.weights'), '["JSON"]')) AS entry FROM lists)
),
target_type AS (
    SELECT unnest(from_json(json_extract(settings, '$.events.targets'), '["VARCHAR"]')) AS event_type FROM lists
),
event AS (
    SELECT user_history.*, coalesce(type_weight.weight, 1) AS weight
    FROM user_history
    LEFT JOIN type_weight ON type_weight.event_type = user_history.event_type
),
weighed AS ( -- a purchase is an event of the highest weight
    SELECT *, weight = (SELECT max(weight) FROM event) AS is_purchase FROM event
),
counted AS ( -- balance: purchases less returns of the item so far
    SELECT
        *,
        sum(CASE WHEN is_purchase THEN 1 WHEN weight < 0 THEN -1 ELSE 0 END) OVER (
            PARTITION BY user_id, item_id ORDER BY position
        ) AS balance
    FROM weighed
),
matched AS ( -- a purchase is left if the balance never falls below its value right after the purchase
    SELECT
        *,
        is_purchase AND balance <= min(balance) OVER (
            PARTITION BY user_id, item_id ORDER BY position ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS is_left
    FROM counted
),
remaining AS (
    SELECT
        *,
        NOT bool_or(weight < 0) OVER item AS has_no_return,
        bool_or(is_left) OVER item AS has_purchase_left
    FROM matched
    WINDOW item AS (PARTITION BY user_id, item_id)
)
SELECT user_id, position, item_id, event_time, rating, event_type, generation
FROM remaining
WHERE weight > 0
  AND (has_no_return OR is_left OR (has_purchase_left AND NOT is_purchase))
  AND (event_type IS NULL OR NOT EXISTS (SELECT 1 FROM target_type) OR event_type IN (SELECT event_type FROM target_type));
