-- database: generation, attached as candidate, and the served generation attached as served. Parameters: none.
-- The number of different items in the new lists, as a share of the different items in the served lists.
SELECT
    new_item.items / nullif(served_item.items, 0) AS measured,
    format('the new lists have {:,} different items, the served lists have {:,}', new_item.items, served_item.items) AS found
FROM (SELECT count(DISTINCT item_id) AS items FROM candidate.recommendation) AS new_item
CROSS JOIN (SELECT count(DISTINCT item_id) AS items FROM served.recommendation) AS served_item
