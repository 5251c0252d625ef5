-- database: serving
-- The share of the catalogue that is recommended to at least one user, and how unevenly items are recommended.
-- `item_coverage` is the share of available items that are on at least one user's list. `share_of_ten_most_recommended`
-- is the share of the rows of all lists that belong to the ten most recommended items.
WITH shown AS (
    SELECT item_id, count(*) AS num_users FROM recommendation GROUP BY item_id
),
figures AS (
    SELECT
        (SELECT count(DISTINCT user_id) FROM recommendation) AS num_users,
        (SELECT count(*) FROM item WHERE is_available) AS num_available_items,
        (SELECT count(*) FROM shown) AS num_recommended_items,
        (SELECT sum(num_users) FROM shown) AS num_rows,
        (SELECT sum(num_users) FROM (SELECT num_users FROM shown ORDER BY num_users DESC LIMIT 10)) AS num_rows_of_ten
)
SELECT
    num_users,
    num_available_items,
    num_recommended_items,
    num_recommended_items / nullif(num_available_items, 0) AS item_coverage,
    num_rows_of_ten / nullif(num_rows, 0) AS share_of_ten_most_recommended
FROM figures;
