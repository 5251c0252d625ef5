-- database: serving
-- Items whose codes begin with the same codes as those of one given item, most shared levels first.
-- parameter item: id of the given item; default: the first item that has codes
-- parameter k: largest number of rows to return; default: 20
WITH wanted AS (
    SELECT item_id, codes
    FROM item_code
    WHERE item_id = coalesce(getvariable('item'), (SELECT min(item_id) FROM item_code))
),
shared AS (
    SELECT
        other.item_id,
        other.title,
        other.semantic_id,
        other.vector_source,
        -- the number of levels before the first one that differs
        coalesce(
            list_position(
                list_transform(list_zip(other.codes, wanted.codes), lambda pair: pair[1] IS NOT DISTINCT FROM pair[2]),
                false
            ) - 1,
            len(wanted.codes)
        ) AS num_levels_shared
    FROM current_item_code AS other
    JOIN wanted ON other.item_id <> wanted.item_id
)
SELECT num_levels_shared, item_id, title, semantic_id, vector_source
FROM shared
WHERE num_levels_shared > 0
ORDER BY num_levels_shared DESC, item_id
LIMIT coalesce(getvariable('k'), 20)::BIGINT;
